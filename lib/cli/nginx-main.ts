import { main } from './nginx.js';

// What bin/moonphase-nginx runs, bundled into one file.
main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`nginx: [alert] ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
});
