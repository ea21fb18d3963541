import { ProcessType, native } from '../binding.js';
import type { SignalName } from '../binding.js';
import { Server } from '../gateway/server.js';
import { prepareProcess } from './prepare.js';
import type { ToPrimary, ToWorker } from './protocol.js';

const ALERT = 2;

/** A worker process: waits for the primary's word, serves until a signal or the primary's end. */
export function runWorker(serverVersion: string): void {
  const addon = native();
  addon.catchSignals();
  let server: Server | undefined;
  let shutdownTimeout: number | undefined;
  let quitting = false;

  const leave = (): never => process.exit(0);
  const quit = (): void => {
    if (quitting) return;
    quitting = true;
    if (server === undefined) leave();
    void server?.quit(shutdownTimeout).then(leave);
  };
  const onSignal = (name: SignalName): void => {
    if (name === 'SIGTERM' || name === 'SIGINT') {
      server?.terminate();
      leave();
    }
    if (name === 'SIGQUIT' || name === 'SIGWINCH') quit();
    if (name === 'SIGUSR1') server?.reopenLogs();
  };

  const start = async (message: ToWorker & { type: 'start' }): Promise<void> => {
    const { plan, id, descriptors } = message;
    process.title = message.title;
    shutdownTimeout = plan.process.worker_shutdown_timeout;
    const { user } = plan.process;
    server = new Server({
      embedded: false,
      serverVersion,
      processType: ProcessType.worker,
      workerId: id,
      workerCount: message.count,
      masterPid: process.ppid,
      respawned: message.respawned,
      user: user?.name,
      group: user?.group,
    });
    const complaints: string[] = [];
    prepareProcess(plan.process, id, (text) => complaints.push(text));
    await server.serveOn(plan, descriptors);
    for (const text of complaints) server.log(ALERT, text);
  };

  process.on('message', (message: ToWorker) => {
    if (message.type === 'detach') {
      if (message.stderr !== undefined) addon.redirectStderr(message.stderr);
      return;
    }
    start(message).then(
      () => send({ type: 'ready' }),
      (error: unknown) => {
        send({ type: 'failed', message: (error as Error).message }, () => process.exit(2));
      },
    );
  });
  // Without a primary nobody could stop us or give our addresses to a new one.
  process.on('disconnect', quit);
  addon.watchSignals(onSignal);
}

function send(message: ToPrimary, then: () => void = () => undefined): void {
  if (process.send === undefined) return then();
  process.send(message, undefined, undefined, then);
}
