// What a bench is told: --name=value, and its checkout.
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** The options as they came; `--name` alone is "yes". */
export const options = Object.fromEntries(
  process.argv.slice(2).map((arg) => {
    const [name, value = 'yes'] = arg.replace(/^--/, '').split('=');
    return [name, value];
  }),
);

/** A number among them. */
export const number = (name, otherwise) => Number(options[name] ?? otherwise);
