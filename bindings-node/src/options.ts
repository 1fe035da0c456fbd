/**
 * What users write, in camel case. Each type stands over one of the core's specs; `Same` below fails to compile when
 * their fields drift apart.
 */

import type { Duration, Snake } from './convert.js'
import type * as spec from './spec.js'
import type { Secret } from './secret.js'

/**
 * How failed attempts are repeated: exponential backoff, capped, with jitter. A function that returned what can't be
 * stored is not called again: that fails its step at once.
 */
export interface RetryOptions {
  /** How many attempts may fail before the step has failed, the first one included. */
  readonly attempts: number
  /** The wait after the first failure; 1 s by default. */
  readonly initial?: Duration
  /** By how much the wait grows with each failure; 2 by default. */
  readonly factor?: number
  /** The longest wait; 5 min by default. */
  readonly cap?: Duration
  /** `full` (the default) draws the wait between nothing and the computed one. */
  readonly jitter?: spec.Jitter
}

/** What a command's environment and output are. */
export interface ProcessOptions {
  /** Variables besides those of this program. Texts are recorded; of a `secret(...)` only the name is. */
  readonly env?: Readonly<Record<string, string | Secret>>
  /** The working directory; by default this program's. */
  readonly dir?: string
  /** How long after SIGTERM its process group is killed; 10 s by default. */
  readonly grace?: Duration
}

/** How a service is run and served: supervised local processes behind the embedded proxy. */
export interface ServeOptions {
  /** Where the embedded proxy listens, such as `127.0.0.1:8080`. */
  readonly listen: string
  /** How many processes serve in full size. */
  readonly replicas: number
  /** When an instance is ready for traffic. By default: when the process listens on its port. */
  readonly ready?: CheckOptions & { readonly probe: Probe }
  /** How long requests under way may take to end before an instance is stopped; 30 s by default. */
  readonly drain?: Duration
  /** How long after SIGTERM an instance is killed; 10 s by default. */
  readonly grace?: Duration
  /** How long a request may take until the first byte of its answer; 60 s by default. */
  readonly requestTimeout?: Duration
  /** The largest request body in bytes; 64 MiB by default. */
  readonly maxBodyBytes?: number
}

/** What all rollouts have, whatever their strategy. */
export interface RolloutOptions {
  /** How the service is run and served. */
  readonly serve: ServeOptions
  /** What decides whether the new version is worse than the old one: `sequential(...)`. */
  readonly judge?: Judge
  /** How long a move may take, and a version that gets traffic may be unready; 10 min by default. */
  readonly progressDeadline?: Duration
  /** Whether somebody must promote before the new version gets all traffic; `auto` by default. */
  readonly promote?: spec.PromoteSpec
  /**
   * How long the old version is kept running after promotion; 30 s by default. Until then a new version that crashes
   * again and again, or that the blackout guard finds dead, still goes back by itself.
   */
  readonly keepOld?: Duration
  /** How many former versions can be reverted to; 2 by default. */
  readonly keepVersions?: number
  /** How many crashes of the new version's processes turn the rollout back when passed; 3 by default. */
  readonly restartLimit?: number
}

/** A canary: traffic goes over in steps, with a bake after each. */
export interface CanaryOptions extends RolloutOptions {
  /** Percent of the traffic in each step, rising; 100 may be the last. */
  readonly steps: readonly number[]
  /** How long each step is watched; where it is judged, at least the judge's warm-up and one of its windows. */
  readonly bake: Duration
}

/** Blue-green: the new version comes up in full beside the old one and gets all traffic at once. */
export interface BlueGreenOptions extends RolloutOptions {
  /**
   * How long it is watched before it is promoted, with the old one warm; not at all by default. Where it is judged, at
   * least the judge's warm-up and one of its windows.
   */
  readonly bake?: Duration
}

/** Back to a version that was stable before. */
export interface RevertOptions {
  /** The version; by default the one that was stable before the present one. */
  readonly to?: string
  /** How long a move may take; 10 min by default. */
  readonly progressDeadline?: Duration
  /** How long the present version is kept running after the change; 30 s by default. */
  readonly keepOld?: Duration
}

/** The sequential judge of error rates. Everything has a default. */
export interface JudgeOptions {
  /** What is compared, and how errors may cling together; in windows by default. */
  readonly form?: spec.Form
  /** The chance that a release which is no worse is ever condemned; 0.01 by default. */
  readonly alpha?: number
  /** The chance that a release which is `safe` times as bad or worse is ever found safe; 0.05 by default. */
  readonly beta?: number
  /** How many times the stable side's rate of errors is tolerated; 1 by default. */
  readonly tolerate?: number
  /** A release proven to stay below this many times the stable side's rate may go on before the bake is over. */
  readonly safe?: number
  /** To pass, as many requests must have been seen as find this ratio of rates with a power of 80 %; 3 by default. */
  readonly detect?: number
  /** The rate of errors for which `detect` is asked when the stable side shows fewer; 0.001 by default. */
  readonly baseRate?: number
  /** The length of a window; 10 s by default, and never under `burst`. */
  readonly window?: Duration
  /** How long errors cling together; 10 s by default. */
  readonly burst?: Duration
  /** Requests don't count while any instance became ready less than this ago; 10 s by default. */
  readonly warmup?: Duration
  /** The guard against a release that fails altogether; on by default. */
  readonly blackout?: spec.BlackoutSpec
  /** What follows when the bake is over and too little was seen to tell; `pause` by default. */
  readonly inconclusive?: spec.OnInconclusive
}

/** How often a check runs, and how its results count. */
export interface CheckOptions {
  /** The time from one probe's start to the next one's; 5 s by default. */
  readonly interval?: Duration
  /** The interval in the start period, before the first pass; 100 ms by default, and never more than `interval`. */
  readonly startInterval?: Duration
  /** The interval while it is failing; `interval` by default. */
  readonly failingInterval?: Duration
  /** The interval while passes are counted that are not enough yet; `interval` by default. */
  readonly risingInterval?: Duration
  /** The interval while failures are counted that are not enough yet; `interval` by default. */
  readonly fallingInterval?: Duration
  /** A random part of up to this many percent is added to each interval; 10 by default. */
  readonly jitter?: number
  /** How long a probe may take; 1 s by default. */
  readonly timeout?: Duration
  /** Passes in a row that make it passing; 1 by default. */
  readonly rise?: number
  /** Failures in a row that make it failing; 3 by default. */
  readonly fall?: number
  /** Failures in a row that make it degraded; by default none do. */
  readonly degrade?: number
  /** The state before anything is concluded; `starting` by default. */
  readonly initial?: spec.State
  /** Whether the first result that counts is enough by itself, whatever `rise` and `fall`. */
  readonly firstResultApplies?: boolean
  /** Unknown results in a row that make it unknown; 3 by default, 0 for never. */
  readonly unknownAfter?: number
  /** States that end the probing until a restart, once a result led to them. */
  readonly hold?: readonly spec.State[]
  /** How long after the start the first probe runs; at once by default. */
  readonly initialDelay?: Duration
  /** How long after the start failures don't count, until the first pass; 30 s by default. */
  readonly startPeriod?: Duration
  /** With no pass or failure for this long, the state becomes `stale`; by default results don't age. */
  readonly maxAge?: Duration
  /** `unknown` (the default) or `failing`: the state when results are older than `maxAge`. */
  readonly stale?: spec.State
}

/** Which statuses of an HTTP probe mean what, as codes and ranges such as `"200-399"`. */
export interface HttpOptions {
  /** Statuses that pass; `["200-399"]` by default. */
  readonly pass?: readonly string[]
  /** Statuses that pass with a warning. */
  readonly warn?: readonly string[]
  /** Of the statuses that don't pass: those that make it failing at once, whatever the threshold. */
  readonly failNow?: readonly string[]
}

/** Which exit codes of a command probe mean what; 0 passes. */
export interface CommandProbeOptions {
  /** Exit codes that pass with a warning (1 for monitoring plugins). */
  readonly warn?: readonly number[]
  /** Exit codes that say nothing (3 for monitoring plugins). */
  readonly unknown?: readonly number[]
}

/** A probe, made by `http`, `tcp` or `command`. */
export type Probe =
  | ({ readonly kind: 'http'; readonly url: string } & HttpOptions)
  | { readonly kind: 'tcp'; readonly address: string }
  | ({ readonly kind: 'command'; readonly argv: readonly string[] } & CommandProbeOptions)

/** A judge, made by `sequential`. */
export type Judge = JudgeOptions

/** A way to ship, made by `canary` or `blueGreen`. */
export interface Rollout extends RolloutOptions {
  /** The service that is shipped to. */
  readonly service: string
  /** In which moves the new version takes over. */
  readonly strategy:
    | { readonly kind: 'canary'; readonly steps: readonly number[]; readonly bake: Duration }
    | { readonly kind: 'blue_green'; readonly bake?: Duration }
}

/** The core's names of a type's fields. */
export type Names<T> = T extends unknown ? Snake<keyof T & string> : never
/** Compiles only if both are the same set of names. */
export type Same<Ours, Core> = [Ours, Core] extends [Core, Ours] ? true : { ours: Exclude<Ours, Core>; core: Exclude<Core, Ours> }
/** A tuple of `true`. */
export type All<T extends readonly true[]> = T

/** Fails to compile when options and specs drift apart. */
export type Checked = All<
  [
    Same<Names<RetryOptions>, keyof spec.RetrySpec>,
    Same<Names<ServeOptions>, keyof spec.ServeSpec>,
    Same<Names<Rollout>, keyof spec.RolloutSpec>,
    Same<Names<Exclude<CanaryOptions, never>>, Exclude<keyof spec.RolloutSpec, 'service' | 'strategy'> | 'steps' | 'bake'>,
    Same<Names<Rollout['strategy']>, keyof spec.StrategySpecCanary | keyof spec.StrategySpecBlueGreen>,
    Same<Names<RevertOptions> | 'service', keyof spec.RevertSpec>,
    Same<Names<JudgeOptions>, keyof spec.JudgeSpec>,
    Same<Names<CheckOptions> | 'probe', keyof spec.CheckSpec>,
    Same<Names<Probe & { kind: 'http' }>, keyof spec.ProbeSpecHttp>,
    Same<Names<Probe & { kind: 'tcp' }>, keyof spec.ProbeSpecTcp>,
    Same<Names<Probe & { kind: 'command' }>, keyof spec.ProbeSpecCommand>,
    Same<Probe['kind'], spec.ProbeSpec['kind']>,
    Same<Rollout['strategy']['kind'], spec.StrategySpec['kind']>,
    Same<Names<ProcessOptions> | 'kind' | 'argv' | 'shell' | 'output', keyof spec.ActionSpecCommand>,
  ]
>
