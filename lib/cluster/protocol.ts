import type { Plan } from '../conf/plan.js';

/** What the primary tells a worker. */
export type ToWorker =
  | {
      readonly type: 'start';
      readonly plan: Plan;
      readonly id: number;
      readonly count: number;
      /** It is no worker but the privileged agent: it listens nowhere and keeps its rights. */
      readonly agent: boolean;
      readonly respawned: boolean;
      /** For each address of the plan, a descriptor that the worker was started with. */
      readonly descriptors: readonly number[];
      readonly zones: readonly { readonly name: string; readonly fd: number }[];
      /** The memory that all workers count in. */
      readonly stats: number;
      readonly title: string;
    }
  /** The start is over: standard error is the log's from now on; undefined: it stays. */
  | { readonly type: 'detach'; readonly stderr: string | undefined };

export type ToPrimary =
  /** `privilegedAgent`: the connections of the agent that its init_by_lua wants. */
  | { readonly type: 'ready'; readonly privilegedAgent: number | undefined }
  /** The worker ends; its start failed for a reason that trying again does not change. */
  | { readonly type: 'failed'; readonly message: string };
