/** Recorded data run again, by the code that runs live: windows through a judge, results through a check's thresholds. */

import type { Transition } from './check.js'
import { type Duration, fromCore, type Table, toSpec } from './convert.js'
import { native, unwrap } from './native.js'
import type { All, Judge, Names, RetryOptions, Same } from './options.js'
import type * as spec from './spec.js'

/** What was counted on one side. */
export interface SideCounts {
  /** Requests that were routed to this side in the window and have ended. */
  readonly requests: number
  /** Of these the bad ones. */
  readonly errors: number
  /** Requests besides, which the client left before the first byte of an answer; 0 by default. */
  readonly abandoned?: number
}

/** One recorded window. */
export interface WindowRecord {
  /** The release that is judged. */
  readonly canary: SideCounts
  /** What it is compared with; nothing for the absolute forms. */
  readonly stable?: SideCounts
  /** The canary's assigned share of the requests of both, 0 to 1; by default the share that it got. */
  readonly share?: number
}

/** A verdict with its numbers; figures that went through logarithms are rounded to 4 digits. */
export interface Explanation {
  /** The verdict. */
  readonly verdict: 'harm' | 'safe' | 'undecided' | 'pass' | 'inconclusive'
  /**
   * What the figures are of. Those of abandoned requests are told when they condemn: then `errors` in the counts are the
   * abandoned ones of all `requests`.
   */
  readonly metric: 'errors' | 'abandoned'
  /** Why, in one sentence. */
  readonly sentence: string
  /** Windows that were judged. */
  readonly windows: number
  /** The canary's counts in them. */
  readonly canary: SideCounts
  /** The stable side's counts in them. */
  readonly stable: SideCounts
  /** The evidence E for harm (for `safe`: for safety). */
  readonly evidence: number
  /** What it must reach. */
  readonly bound: number
  /** The p-value against "no worse than tolerated", valid at any time. */
  readonly p: number
  /** The chance of a false alarm that was chosen. */
  readonly alpha: number
  /** Smaller ratios of the canary's rate to the other side's (or the objective) are rejected at alpha. */
  readonly ratioFrom: number | null
  /** Larger ratios are rejected at alpha. */
  readonly ratioTo: number | null
  /** Canary requests needed to find the ratio `detect`, when it was asked and is known. */
  readonly need: number | null
  /** How long it takes at least until the judge condemns when errors go on as they were seen, such as `1m30s`. */
  readonly timeLeft?: string
  /** What the verdict holds under. */
  readonly assumptions: readonly string[]
}

/** The evidence on one metric. */
export interface MetricEvidence {
  /** ln E for harm now. */
  readonly logHarm: number
  /** The largest so far, by which the verdict goes. */
  readonly peakHarm: number
  /** What it must reach, with the metric's part of alpha. */
  readonly harmBound: number
  /** ln E for safety now; null when the judge looks for none. */
  readonly logSafe: number | null
}

/** What a judge says after a window, and would say if the bake ended there. */
export interface Judged {
  /** How long was judged by then, with windows of full length, such as `1m30s`. */
  readonly after: string
  /** Whether the window was left out, because the canary got more of the requests than the draw can explain. */
  readonly leftOut: boolean
  /** The evidence on errors. */
  readonly errors: MetricEvidence
  /** The evidence on requests that clients left before an answer. Either condemns the release. */
  readonly abandoned: MetricEvidence
  /** What ln E for safety must reach; null when the judge looks for none. */
  readonly safeBound: number | null
  /** The verdict so far: `harm`, at which a rollout turns back, `safe`, at which it may go on, or `undecided`. */
  readonly soFar: Explanation
  /** The verdict if the bake ended here: `harm`, `pass` or `inconclusive`. */
  readonly atEnd: Explanation
  /** What would follow then. */
  readonly follows: spec.OnInconclusive
}

/**
 * One thing that is recorded of a check: a result (by its verdict, status or exit code), a restart of what is checked, or,
 * with neither, a mere look at the time.
 */
export interface CheckRecord {
  /**
   * When, or how many milliseconds after the start; of a result, when its probe was started. By default a result's probe
   * was started when it was due (after probing has ended, an interval after the record before), and all else happened with
   * the record before.
   */
  readonly at?: Date | number
  /** What the result said. */
  readonly verdict?: spec.Verdict
  /** Instead of a verdict, the status that an HTTP probe was answered with: the check says what it means. */
  readonly status?: number
  /** Instead of a verdict, the exit code of a command: the check says what it means. */
  readonly exitCode?: number
  /** Why, in one line. */
  readonly reason?: string
  /** How long the probe took; nothing by default. Longer than the check's timeout is a failure. */
  readonly took?: Duration
  /** Whether what is checked was started anew. */
  readonly restarted?: boolean
}

/** How a check stands after a record. */
export interface Standing {
  /** When: a result's time is that of its probe's start and what the probe took. */
  readonly at: Date
  /** Whether a probe was due by the record's time, so that the check would have run one. */
  readonly wasDue: boolean
  /** What is held of the thing. */
  readonly state: spec.State
  /** Since when. */
  readonly since: Date
  /** What changed with this record, or since the one before when results had become too old. */
  readonly transitions: readonly Transition[]
  /** Passes in a row. */
  readonly passes: number
  /** Failures in a row that count. */
  readonly failures: number
  /** Unknown results in a row. */
  readonly unknowns: number
  /** How many passes in a row from now would make it passing; 0 when it is. */
  readonly passesNeeded: number
  /** How many failures in a row that count would make it failing; 0 when it is. */
  readonly failuresNeeded: number
  /** When the next probe is to start; null when none is, until a restart. */
  readonly due: Date | null
  /** When results become too old, if they ever do. */
  readonly staleAt: Date | null
  /** The state, the counters and what comes next, in words. */
  readonly explanation: string
}

/** How an e-process is made. */
export interface EProcessOptions {
  /** How a window's counts become a factor. */
  readonly law: spec.Law
  /** The grid: bets, ratios or rates, as the law has them. */
  readonly points: readonly number[]
  /** One positive number for each point, scaled to add up to 1; equal ones by default. */
  readonly weights?: readonly number[]
}

/** Which members of a group are outliers, and what happens to them then. The defaults are Envoy's. */
export interface OutlierOptions {
  /** Fewer members than this with enough requests are not compared; 5 by default. */
  readonly minMembers?: number
  /** Members with fewer requests than this are neither compared nor set aside; 100 by default. */
  readonly minRequests?: number
  /** How many standard deviations below the mean the limit lies, to thousandths; 1.9 by default. */
  readonly deviations?: number
  /** How many percent of the members may be set aside at once, one always; 10 by default. */
  readonly maxPercent?: number
  /** How long a member is set aside the first time, and n times as long the n-th time; 30 s by default. */
  readonly base?: Duration
  /** The longest that a member is set aside, never less than `base`; 5 min by default. */
  readonly max?: Duration
}

/** What a member's requests came to within one window. */
export interface Tally {
  /** Requests that ended. */
  readonly requests: number
  /** Of these the good ones. */
  readonly successes: number
}

/** A group's success rates, in percent. */
export interface Comparison {
  /** The mean of the members' rates, each member alike. */
  readonly mean: number
  /** Their standard deviation, over the members as the whole population. */
  readonly stdev: number
  /** A rate below this is an outlier's. */
  readonly limit: number
  /** The outliers, worst first; equal ones by name. */
  readonly outliers: readonly string[]
}

/** Evidence against a null that may be looked at whenever one likes: what a judge is made of. */
export class EProcess {
  readonly #options: EProcessOptions

  constructor(options: EProcessOptions) {
    this.#options = options
  }

  /**
   * ln E of errors after each window.
   *
   * @throws TidegateError `invalid` with everything that is wrong with the process or with the windows.
   */
  replay(windows: readonly WindowRecord[]): number[] {
    const process = text(toSpec<object>('EProcessSpec', this.#options))
    return JSON.parse(unwrap(native.replayProcess(process, text(windows)))) as number[]
  }
}

/** Outliers among the members of a group, by what their real requests do. */
export class Outliers {
  readonly #text: string

  constructor(options: OutlierOptions = {}) {
    this.#text = text(toSpec<object>('OutlierSpec', options))
  }

  /** Compares the members, by name; null when too few had enough requests: nobody is an outlier then. */
  compare(members: Readonly<Record<string, Tally>>): Comparison | null {
    return JSON.parse(unwrap(native.compareMembers(this.#text, text(members)))) as Comparison | null
  }

  /** How many of so many members may be set aside at once. */
  most(members: number): number {
    return JSON.parse(unwrap(native.mostAside(this.#text, text(members)))) as number
  }

  /** How many milliseconds a member is set aside the `times`-th time. */
  asideFor(times: number): number {
    return JSON.parse(unwrap(native.asideFor(this.#text, text(times)))) as number
  }
}

/**
 * What a judge says after each of the recorded windows, by the code that judges a rollout: the verdict, and when. A rollout
 * ends with the first verdict of harm; a replay goes on to the last window. The blackout guard looks at readings of about a
 * second and not at windows: it has no part in this. `canary` and `stable` name the versions in sentences, `replicas` says
 * how many instances the canary had.
 *
 * @throws TidegateError `invalid` with everything that is wrong with the judge or with the windows.
 */
export async function replay(
  judge: Judge,
  windows: readonly WindowRecord[],
  sides: { readonly canary?: string; readonly stable?: string; readonly replicas?: number } = {},
): Promise<Judged[]> {
  const named = text({ canary: 'canary', stable: 'stable', ...sides })
  const told = unwrap(await native.replayJudge(text(toSpec<object>('JudgeSpec', judge)), text(windows), named))
  return fromCore<Judged[]>('Judged', JSON.parse(told) as object, TABLE)
}

const TABLE: Table = {
  Judged: { so_far: 'Explanation', at_end: 'Explanation', errors: 'MetricEvidence', abandoned: 'MetricEvidence' },
  MetricEvidence: {},
  Explanation: {},
  Standing: {},
}

/** Times as the core writes them. */
interface Told extends Omit<Standing, 'at' | 'since' | 'due' | 'staleAt' | 'transitions'> {
  readonly at: number
  readonly since: number
  readonly due: number | null
  readonly staleAt: number | null
  readonly transitions: readonly (Omit<Transition, 'at'> & { readonly at: number })[]
}

/** How a check stands after each record. */
export function standings(
  check: object,
  records: readonly (CheckRecord | spec.Verdict)[],
  options: { readonly start?: Date; readonly seed?: number },
): Standing[] {
  const all = records.map((record) => (typeof record === 'string' ? { verdict: record } : record))
  const first: Date | number | undefined = all[0]?.at
  const start = (options.start ?? (first instanceof Date ? first : new Date(0))).getTime()
  const told = all.map((record) => {
    const { at } = record as CheckRecord
    const known = at instanceof Date ? at.getTime() : at === undefined ? undefined : start + at
    return { ...toSpec<object>('CheckRecord', record), at: known }
  })
  const begin = text({ start, seed: options.seed ?? 0 })
  const answer = unwrap(native.replayCheck(text(check), text(told), begin))
  return fromCore<Told[]>('Standing', JSON.parse(answer) as object, TABLE).map((each) => ({
    ...each,
    at: time(each.at),
    since: time(each.since),
    due: each.due === null ? null : time(each.due),
    staleAt: each.staleAt === null ? null : time(each.staleAt),
    transitions: each.transitions.map((transition) => ({ ...transition, at: time(transition.at) })),
  }))
}

/**
 * The waits between the attempts of a retry in milliseconds, one fewer than these: with full jitter the longest, of which
 * a part is drawn.
 *
 * @throws TidegateError `invalid` with every fault.
 */
export function retryDelays(retry: RetryOptions): number[] {
  return JSON.parse(unwrap(native.retryDelays(text(toSpec<object>('RetrySpec', retry))))) as number[]
}

/** The farthest time from 1970 that a `Date` can say, in milliseconds. */
const LAST = 8.64e15

function time(milliseconds: number): Date {
  return new Date(Math.min(Math.max(milliseconds, -LAST), LAST))
}

/** As JSON. Numbers that are none, which JSON lacks, go along as texts, so that the core refuses them at their place. */
function text(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'number' && !Number.isFinite(item) ? String(item) : item,
  )
}

/** Fails to compile when records and specs drift apart. */
export type Checked = All<
  [
    Same<Names<SideCounts>, keyof spec.SideCounts>,
    Same<Names<WindowRecord>, keyof spec.WindowRecord>,
    Same<Names<CheckRecord>, keyof spec.CheckRecord>,
    Same<Names<EProcessOptions>, keyof spec.EProcessSpec>,
    Same<Names<OutlierOptions>, keyof spec.OutlierSpec>,
    Same<Names<Tally>, keyof spec.Tally>,
  ]
>
