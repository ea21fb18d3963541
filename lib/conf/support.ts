/**
 * Directives that the front end knows and the native side does not do yet: they are refused at load, by name.
 * (Directives that no part knows yet are rows with `later`; those without meaning here are rows with `ignored`.)
 */
export const NATIVE_PENDING: ReadonlySet<string> = new Set<string>();
