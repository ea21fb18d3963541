import { ProcessType, native } from '../binding.js';
import type { SignalName } from '../binding.js';
import { Server } from '../gateway/server.js';
import { zoneSpace } from '../gateway/zones.js';
import { ErrorLog, signalText } from './log.js';
import { prepareProcess } from './prepare.js';
import type { ToPrimary, ToWorker } from './protocol.js';

/** A worker process: waits for the primary's word, serves until a signal or the primary's end. */
export function runWorker(serverVersion: string): void {
  const addon = native();
  addon.catchSignals();
  let server: Server | undefined;
  const log = new ErrorLog();
  log.terminal = false;
  let shutdownTimeout: number | undefined;
  let quitting = false;

  const leave = (): never => {
    log.write('notice', 'exit');
    process.exit(0);
  };
  const quit = (): void => {
    if (quitting) return;
    quitting = true;
    if (server === undefined) leave();
    log.write('notice', 'gracefully shutting down');
    void server?.quit(shutdownTimeout).then(leave);
  };
  const onSignal = (name: SignalName, number: number, sender: number): void => {
    const notice = (doing: string): void =>
      log.write('notice', signalText(name, number, sender, doing));
    if (name === 'SIGTERM' || name === 'SIGINT') {
      notice('exiting');
      server?.terminate();
      leave();
    }
    if (name === 'SIGQUIT' || name === 'SIGWINCH') {
      notice('shutting down');
      quit();
    }
    if (name === 'SIGUSR1') {
      notice('reopening logs');
      log.reopen();
      server?.reopenLogs();
    }
  };

  const start = async (message: ToWorker & { type: 'start' }): Promise<void> => {
    const { plan, id, descriptors, agent } = message;
    process.title = message.title;
    shutdownTimeout = plan.process.worker_shutdown_timeout;
    const user = agent ? undefined : plan.process.user;
    server = new Server({
      embedded: false,
      serverVersion,
      processType: agent ? ProcessType.privileged : ProcessType.worker,
      workerId: id,
      workerCount: message.count,
      masterPid: process.ppid,
      respawned: message.respawned,
      zones: message.zones,
      zoneSpace: zoneSpace(process.ppid),
      zonesKept: true,
      stats: message.stats,
      user: user?.name,
      group: user?.group,
    });
    log.use(plan);
    addon.catchSignals(plan.http?.lua.lua_sa_restart);
    prepareProcess(plan.process, id, (text) => log.write('alert', text));
    await (agent ? server.load(plan) : server.serveOn(plan, descriptors));
  };

  process.on('message', (message: ToWorker) => {
    if (message.type === 'detach') {
      if (message.stderr !== undefined) addon.redirectStderr(message.stderr);
      return;
    }
    start(message).then(
      () => send({ type: 'ready', privilegedAgent: server?.privilegedAgent() }),
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
