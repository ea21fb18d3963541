export function checkPrebuild() { return []; }
