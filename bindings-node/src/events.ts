/**
 * Events (`kind` tells them apart) and what is answered about runs, services and the journal. @generated
 *
 * Generated from the core by `cargo run -p tidegate-generate`: change it there.
 */

import type * as spec from './spec.js'

/** The place of a recorded event. Those are durable, in order, and none is left out. */
export interface Recorded {
  /** Its number within the run. */
  readonly seq: number
  /** When it was recorded. */
  readonly at: Date
}

/** How requests that clients left before an answer are judged. */
export interface AbandonedRule {
  /**
   * In the absolute form, the share of them that is fine where the objective is lower: some clients leave any
   * service, and there is no other side to say how many.
   */
  readonly objective: number
  /** Their part of alpha, 0 to 1; the errors have the rest. */
  readonly part: number
}

/**
 * What a verdict holds under, to be told with it.
 *
 * `random_draw`: The version is drawn at random for each request.
 *
 * `bursts_within_window`: No cause that sits on one side outlasts its window.
 *
 * `independent_errors`: Errors are independent of each other.
 *
 * `sides_alike`: Both sides are equally warm and alike.
 *
 * `one_replica`: One canary instance can't be told from a bad release.
 *
 * `no_comparison`: There is no comparison: a bad day for everything condemns the release.
 */
export type Assumption = 'random_draw' | 'bursts_within_window' | 'independent_errors' | 'sides_alike' | 'one_replica' | 'no_comparison'

/** When the guard fires. */
export interface BlackoutRule {
  /** The share of bad ones, 0 to 1, from which a reading is bad. */
  readonly bad: number
  /** How many bad readings running it takes. */
  readonly readings: number
  /** How many canary requests make a reading. */
  readonly requests: number
  /** The stable side is well while its share of bad ones, 0 to 1, is under this. */
  readonly stable: number
}

/** Which rollout holds the service. */
export interface Claim {
  /** The run that the rollout belongs to. */
  readonly run: string
  /** The rollout's step within the run. */
  readonly step: string
  /** The version that it ships. */
  readonly version: string
}

/**
 * What cut an attempt off.
 *
 * `lost`: Its outcome will never be known: the driver was killed, or its exit status was lost.
 *
 * `close`: The engine was closed, and stopped it. That counts for nothing, as it is no fault of the step.
 *
 * `close_before_start`: The engine was closed before it had begun: it took no effect.
 */
export type CutOff = 'lost' | 'close' | 'close_before_start'

/** One thing that is wrong with a journal. */
export interface Damage {
  /** What was found, in a few words. */
  readonly detail: string
  /** What kind of damage. */
  readonly kind: DamageKind
  /** The event's sequence number, or the commit's number when there is no stream. */
  readonly seq: number | null
  /** The stream, when it is one stream's damage. */
  readonly stream: string | null
}

/**
 * What kind of damage it is.
 *
 * `changed`: An event is not what was written.
 *
 * `missing`: An event, stream or commit that was written is not there.
 *
 * `reordered`: An event stands where another belongs.
 *
 * `unexpected`: Something is there that was never committed.
 *
 * `head`: A stream's head does not fit its events or the commits.
 *
 * `commit`: A commit is not what was written.
 *
 * `index`: The index of runs does not fit the commits.
 *
 * `inbox`: A command in the inbox is not what was sent.
 *
 * `database`: The database itself is damaged.
 */
export type DamageKind = 'changed' | 'missing' | 'reordered' | 'unexpected' | 'head' | 'commit' | 'index' | 'inbox' | 'database'

/** One version's desired state. */
export interface DesiredVersion {
  /** How long requests under way may take to end before an instance is stopped. */
  readonly drain: spec.SpanText
  /** How long after SIGTERM an instance is killed. */
  readonly grace: spec.SpanText
  /** When an instance is ready; `None`: when the process that was started listens on its port. */
  readonly ready: spec.CheckSpec | null
  /** What to run. */
  readonly release: spec.Release
  /** How many processes. */
  readonly replicas: number
}

/**
 * A verdict with its numbers, as it stands in an event. Figures that went through logarithms are rounded to 4
 * digits and kept from 10^-15 to 10^15.
 */
export interface Explanation {
  /** The chance of a false alarm that was chosen. */
  readonly alpha: number
  /** What the verdict holds under. */
  readonly assumptions: readonly Assumption[]
  /** What it must reach. */
  readonly bound: number
  /** The canary's counts in them. */
  readonly canary: spec.SideCounts
  /** The evidence E for harm (for `safe`: for safety). */
  readonly evidence: number
  /**
   * What the figures are of. Those of abandoned requests are told when they condemn: then `errors` in the counts
   * are the abandoned ones of all `requests`.
   */
  readonly metric: Metric
  /** Canary requests needed to find the ratio `detect`, when it was asked and is known. */
  readonly need: number | null
  /** The p-value against "no worse than tolerated", valid at any time. */
  readonly p: number
  /**
   * Smaller ratios of the canary's rate to the other side's (or the objective) are rejected at alpha; `None`:
   * none.
   */
  readonly ratioFrom: number | null
  /** Larger ratios are rejected at alpha; `None`: none. */
  readonly ratioTo: number | null
  /** One sentence. */
  readonly sentence: string
  /** The stable side's counts in them. */
  readonly stable: spec.SideCounts
  /**
   * How long it takes at least until the judge condemns when errors go on as they were seen; `None` when they
   * don't speak against the release.
   */
  readonly timeLeft?: spec.SpanText
  /** `harm`, `safe`, `undecided`, `pass` or `inconclusive`. */
  readonly verdict: 'harm' | 'safe' | 'undecided' | 'pass' | 'inconclusive'
  /** Windows that were judged. */
  readonly windows: number
}

/** The run began. */
export interface FactRunStarted extends Recorded {
  readonly kind: 'run_started'
  /** The pipeline as the user defined it. */
  readonly definition: spec.PipelineSpec
  /** SHA-256 of the definition, in hexadecimal. */
  readonly definitionHash: string
  /** The epoch of the driver that started it. */
  readonly epoch: number
  /** Numbers of the changes of behaviour that the run was started under; see the changelog. */
  readonly flags: readonly number[]
  /** The key under which it was started, if any. */
  readonly key: string | null
  /** How many steps run at a time. */
  readonly maxParallel: number
  /** What the run was given. */
  readonly params: unknown
  /** SHA-256 of the params as JSON, in hexadecimal: the same key with other params is another run. */
  readonly paramsHash: string
  /** The run's id. */
  readonly run: string
  /** Where chance comes from; below 2^53. */
  readonly seed: number
}

/** Another driver took the run up. */
export interface FactRunResumed extends Recorded {
  readonly kind: 'run_resumed'
  /** Whether only to end it, without its program: of its steps only cleanup commands run any more. */
  readonly ending?: boolean
  /** The driver's epoch. */
  readonly epoch: number
}

/** An attempt began. */
export interface FactStepStarted extends Recorded {
  readonly kind: 'step_started'
  /** The attempt's number; the first one is 1. */
  readonly attempt: number
  /** The step. */
  readonly step: string
  /** The attempt's fencing token; a later attempt of the step has a larger one. */
  readonly token: number
}

/** An attempt is to be stopped. Its outcome is recorded when it is gone. */
export interface FactStepStopping extends Recorded {
  readonly kind: 'step_stopping'
  /** The attempt's number. */
  readonly attempt: number
  /** The step. */
  readonly step: string
  /** Why. */
  readonly why: StopWhy
}

/** A step ended, after its last attempt. */
export interface FactStepFinished extends Recorded {
  readonly kind: 'step_finished'
  /** The number of the last attempt. */
  readonly attempt: number
  /** How it ended. */
  readonly result: StepResult
  /** The step. */
  readonly step: string
}

/** An attempt failed, and there will be another one. */
export interface FactStepRetrying extends Recorded {
  readonly kind: 'step_retrying'
  /** The attempt that failed. */
  readonly attempt: number
  /** When the next attempt may start. */
  readonly nextAttemptAt: Date
  /** The step. */
  readonly step: string
  /** Why it failed. */
  readonly why: StepError
}

/** A step will not run. */
export interface FactStepSkipped extends Recorded {
  readonly kind: 'step_skipped'
  /** Why. */
  readonly reason: SkipReason
  /** The step. */
  readonly step: string
}

/** An attempt ended without an outcome of its own. The step runs again, or asks. */
export interface FactStepCutOff extends Recorded {
  readonly kind: 'step_cut_off'
  /** The attempt that was cut off. */
  readonly attempt: number
  /** By what. */
  readonly by?: CutOff
  /** The step. */
  readonly step: string
}

/** A step waits for an answer; see `resolve`. */
export interface FactStepAsks extends Recorded {
  readonly kind: 'step_asks'
  /** What it asks. */
  readonly question: Question
  /** The step. */
  readonly step: string
}

/** A question was answered, or a failed step's result was set by hand. */
export interface FactStepResolved extends Recorded {
  readonly kind: 'step_resolved'
  /** The answer. */
  readonly answer: spec.StepAnswer
  /** Who answered. */
  readonly by: string
  /** The step. */
  readonly step: string
}

/** Somebody cancelled the run. */
export interface FactCancelRequested extends Recorded {
  readonly kind: 'cancel_requested'
  /** Who. */
  readonly by: string
  /** Why. */
  readonly reason: string
}

/** A command that came from elsewhere, through the inbox, was refused: nothing follows from it. */
export interface FactCommandRefused extends Recorded {
  readonly kind: 'command_refused'
  /** Who asked. */
  readonly by: string
  /** Of which step, if of one. */
  readonly step?: string
  /** What was asked, such as `promote`. */
  readonly verb: string
  /** Why it was refused. */
  readonly why: string
}

/** Something happened in a step's rollout. */
export interface FactRollout extends Recorded {
  readonly kind: 'rollout'
  /** What. */
  readonly event: RolloutEvent
  /** The step. */
  readonly step: string
}

/** The run ended: every step has. */
export interface FactRunFinished extends Recorded {
  readonly kind: 'run_finished'
  /** How. */
  readonly outcome: RunOutcome
}

/** A run that had ended goes on. */
export interface FactRunReopened extends Recorded {
  readonly kind: 'run_reopened'
  /** Who asked for it. */
  readonly by: string
  /** The driver's epoch. */
  readonly epoch: number
  /** The steps that run again, in the order of their definition. */
  readonly steps: readonly string[]
}

/** A fact about a run. Steps are named, so that a journal can be read without the definition. */
export type Fact = FactRunStarted | FactRunResumed | FactStepStarted | FactStepStopping | FactStepFinished | FactStepRetrying | FactStepSkipped | FactStepCutOff | FactStepAsks | FactStepResolved | FactCancelRequested | FactCommandRefused | FactRollout | FactRunFinished | FactRunReopened

/**
 * What an instance is about.
 *
 * `down`: It has no process: none could be started yet, or the last one ended.
 *
 * `starting`: Its process runs and is not ready for traffic.
 *
 * `ready`: It gets traffic.
 *
 * `draining`: It gets no new requests: what is under way ends, and then its process.
 */
export type InstanceState = 'down' | 'starting' | 'ready' | 'draining'

/** An instance of a service. */
export interface InstanceStats {
  /** The proxy's open connections to it, idle ones too. */
  readonly connections: number
  /** Requests and upgraded connections under way at it. */
  readonly inFlight: number
  /** Its process; nothing while it has none. */
  readonly pid?: number
  /** Its place within its version, from 0, which its process finds in `TIDEGATE_SLOT`. */
  readonly slot: number
  /** What it is about. */
  readonly state: InstanceState
  /** The version that it runs. */
  readonly version: string
  /** Why it is not ready, if that is known. */
  readonly waitsFor?: string
}

/**
 * A checked judge. It stands in the start event as it is, so that a later version with other grids folds the
 * evidence of a running rollout as it was begun.
 */
export interface JudgeTerms {
  /** How requests that clients left are judged. */
  readonly abandoned: AbandonedRule
  /** The chance that a release which is no worse is ever condemned. */
  readonly alpha: number
  /** The rate at which it must have been findable when the stable side shows fewer errors. */
  readonly baseRate: number
  /** The chance that a release which is `safe` times as bad or worse is ever found safe. */
  readonly beta: number
  /** The bets f of the window form. */
  readonly bets: readonly number[]
  /** The guard against total failure; `None`: off. */
  readonly blackout: BlackoutRule | null
  /** How long errors cling together. */
  readonly burst: spec.SpanText
  /** The ratio that must have been findable with a power of 80 %. */
  readonly detect: number
  /** What is compared. */
  readonly form: spec.Form
  /** The ratios r of the event form. */
  readonly grid: readonly number[]
  /** What follows when too little was seen. */
  readonly inconclusive: spec.OnInconclusive
  /** The ratios that are tried for the interval. */
  readonly limits: readonly number[]
  /** The ratio of rates below which a release is safe; `None`: nothing ends a bake early. */
  readonly safe: number | null
  /** The tolerated ratio of rates. */
  readonly tolerate: number
  /** The version of the judge's rules. */
  readonly version: number
  /** Requests don't count while any instance that can be drawn became ready less than this ago. */
  readonly warmup: spec.SpanText
  /** The length of a window. */
  readonly window: spec.SpanText
}

/** How the last rollout of a service ended. */
export interface LastRollout {
  /** How it ended. */
  readonly outcome: RolloutOutcome
  /** Why, in one sentence. */
  readonly reason: string
  /** The version that it shipped. */
  readonly version: string
}

/** Quantiles and a histogram of a latency in microseconds, within 1 %; all 0 when nothing was counted. */
export interface Latency {
  /**
   * How many took at most so long, for bounds from 0.5 ms to a minute: as Prometheus counts them, each with
   * those before it.
   */
  readonly buckets: readonly LatencyBucket[]
  /** How many were counted. */
  readonly count: number
  /** The longest. */
  readonly max: number
  /** The median. */
  readonly p50: number
  /** Nine of ten were no longer. */
  readonly p90: number
  /** 99 of 100 were no longer. */
  readonly p99: number
  /** 999 of 1,000 were no longer. */
  readonly p999: number
}

/** How many were counted up to a bound. */
export interface LatencyBucket {
  /** How many took no longer. */
  readonly count: number
  /** The bound in microseconds. */
  readonly upTo: number
}

/**
 * Quantiles of the time from routing to the first byte of the answer, in microseconds. Each is at most 1 % more
 * than what was measured, and never less: the upper end of a bucket of the proxy's histogram. An answer that the
 * proxy makes for an instance that failed or was too slow is one of them; a request that its client left is
 * none. Of fewer than 100 answers `p99` is the longest, of fewer than 20 `p95` too.
 */
export interface LatencyQuantiles {
  /** The median. */
  readonly p50: number
  /** 95 of 100 were no longer. */
  readonly p95: number
  /** 99 of 100 were no longer. */
  readonly p99: number
}

/** How requests are counted into windows ; what validity rests on says `analysis`(crate::analysis). */
export interface Measure {
  /** Requests are in no window while any instance that can be drawn became ready less than this ago. */
  readonly warmup: spec.SpanText
  /** The length of a window. Windows also end when weights change. */
  readonly window: spec.SpanText
}

/**
 * What is held against a release: each metric has evidence of its own, and its part of alpha.
 *
 * `errors`: Of the requests with an answer, or that failed, the bad ones.
 *
 * `abandoned`: Of all requests, those that the client left before the first byte of an answer. A release that
 * hangs shows no errors as long as clients have less patience than the proxy.
 */
export type Metric = 'errors' | 'abandoned'

/** A step wrote a line. */
export interface OutputEventOutput {
  readonly kind: 'output'
  /** The attempt's number. */
  readonly attempt: number
  /** The line, without its end. */
  readonly line: string
  /** The step. */
  readonly step: string
  /** Where to. */
  readonly stream: Stream
}

/** A slow reader missed lines of output. Of durable events none is ever missed. */
export interface OutputEventOutputMissed {
  readonly kind: 'output_missed'
  /** How many. */
  readonly lines: number
}

/** What observers are shown besides durable events, while it comes. It is recorded nowhere. */
export type OutputEvent = OutputEventOutput | OutputEventOutputMissed

/** It must not run twice, and nobody knows what became of its attempt. */
export interface QuestionDidItHappen {
  readonly kind: 'did_it_happen'
  /** The attempt that was cut off. */
  readonly attempt: number
}

/** It was cut off again and again: it may be what kills the program. */
export interface QuestionCutOffTooOften {
  readonly kind: 'cut_off_too_often'
  /** How often it was cut off. */
  readonly times: number
}

/** What a step that waits for an answer asks. */
export type Question = QuestionDidItHappen | QuestionCutOffTooOften

/**
 * Why a rollout turned back.
 *
 * `abort`: Somebody took it back before its version was promoted.
 *
 * `revert`: Somebody took it back after its version was promoted.
 *
 * `harm`: The judge condemned the new version.
 *
 * `blackout`: Nearly every request to the new version failed.
 *
 * `inconclusive`: The judge could not tell, and the spec says that this turns back.
 *
 * `crashes`: The new version's processes ended again and again.
 *
 * `deadline`: A move, or a version's unreadiness, took longer than it may.
 *
 * `world_lost`: The world was lost again and again.
 *
 * `cant_listen`: The service's address can't be listened on, most likely because another program does.
 */
export type RolloutCause = 'abort' | 'revert' | 'harm' | 'blackout' | 'inconclusive' | 'crashes' | 'deadline' | 'world_lost' | 'cant_listen'

/** It began, and holds the service from here on. */
export interface RolloutEventStarted {
  readonly kind: 'started'
  /** With what. */
  readonly start: RolloutStart
}

/**
 * Another driver took it up after the one before had ended: what was seen is stale, and patience begins anew,
 * since nobody drove the present move meanwhile.
 */
export interface RolloutEventTakenUp {
  readonly kind: 'taken_up'
}

/** The world looked different from before. */
export interface RolloutEventSeen {
  readonly kind: 'seen'
  /** How. */
  readonly seen: WorldSeen
}

/** A move began; what it asks of the world is asked under this generation. */
export interface RolloutEventMoveBegan {
  readonly kind: 'move_began'
  /** Whether it is of the way back. */
  readonly back: boolean
  /** The epoch of the weights. */
  readonly epoch: number
  /** The generation of the ask; that of before when nothing is asked. */
  readonly generation: number
  /** Which, counted from 0 in the plan, or in the way back. */
  readonly index: number
  /** The move. */
  readonly step: RolloutMove
}

/** The move is done: seen in force, or its gate is open. */
export interface RolloutEventMoveDone {
  readonly kind: 'move_done'
  /** Whether it is of the way back. */
  readonly back: boolean
  /** Which. */
  readonly index: number
}

/** What gets traffic is not all ready, or the weights are not in force: the bake's clock stands. */
export interface RolloutEventHeld {
  readonly kind: 'held'
  /**
   * Whether the old version is not as its share needs, so that windows of this time don't count: the requests
   * that it did not take went to the new one.
   */
  readonly biased: boolean
  /** Why, in one sentence. */
  readonly why: string
}

/** What gets traffic is ready again. */
export interface RolloutEventHoldEnded {
  readonly kind: 'hold_ended'
}

/** A window was judged. */
export interface RolloutEventWindowJudged {
  readonly kind: 'window_judged'
  /** What was counted, and the new version's share. */
  readonly counts: WindowCounts
  /** The epoch of its weights. */
  readonly epoch: number
  /** How long answers took. No decision rests on it. */
  readonly latency?: WindowLatency
  /** Its number within the service. */
  readonly number: number
}

/**
 * A window does not count, because the old version was not ready for its share in it, or got too few of the
 * requests: the shares were not those assigned. Or it has more errors than requests.
 */
export interface RolloutEventWindowLeftOut {
  readonly kind: 'window_left_out'
  /** Its number within the service. */
  readonly number: number
}

/** The judge said something that the rollout acts on. */
export interface RolloutEventVerdict {
  readonly kind: 'verdict'
  /** The numbers behind it; none for a blackout. */
  readonly explanation?: Explanation
  /** With the evidence, in one sentence. */
  readonly sentence: string
  /** `harm`, `blackout`, `safe`, `pass` or `inconclusive`. */
  readonly verdict: 'harm' | 'blackout' | 'safe' | 'pass' | 'inconclusive'
}

/** Somebody promoted: the gate opens. */
export interface RolloutEventGateOpened {
  readonly kind: 'gate_opened'
  /** Who. */
  readonly by: string
  /** Why. */
  readonly reason: string
}

/** No further move begins until somebody says so. */
export interface RolloutEventPaused {
  readonly kind: 'paused'
  /** By whom and why. */
  readonly pause: RolloutPause
}

/** Moves may begin again; a bake that ended without a verdict begins anew. */
export interface RolloutEventResumed {
  readonly kind: 'resumed'
  /** Who. */
  readonly by: string
  /** Why. */
  readonly reason: string
}

/** It goes back from here on. */
export interface RolloutEventTurnedBack {
  readonly kind: 'turned_back'
  /** The moves of the way back. */
  readonly back: readonly RolloutMove[]
  /** The kind of reason. */
  readonly cause: RolloutCause
  /** The reason in one sentence. */
  readonly reason: string
}

/** Another version counts as good now. */
export interface RolloutEventPromoted {
  readonly kind: 'promoted'
  /** The versions that can be reverted to, the latest first. */
  readonly kept: readonly string[]
  /** Which; `None` when a first release was taken back. */
  readonly version: string | null
}

/** The supervisor died, or what it held was lost. */
export interface RolloutEventWorldLost {
  readonly kind: 'world_lost'
  /** What happened. */
  readonly what: string
}

/** The world is again as asked. */
export interface RolloutEventWorldRestored {
  readonly kind: 'world_restored'
}

/** It is over, and the service is free. */
export interface RolloutEventFinished {
  readonly kind: 'finished'
  /** How it ended. */
  readonly outcome: RolloutOutcome
  /** Why, in one sentence that names the evidence. */
  readonly reason: string
}

/** What happened in a rollout. */
export type RolloutEvent = RolloutEventStarted | RolloutEventTakenUp | RolloutEventSeen | RolloutEventMoveBegan | RolloutEventMoveDone | RolloutEventHeld | RolloutEventHoldEnded | RolloutEventWindowJudged | RolloutEventWindowLeftOut | RolloutEventVerdict | RolloutEventGateOpened | RolloutEventPaused | RolloutEventResumed | RolloutEventTurnedBack | RolloutEventPromoted | RolloutEventWorldLost | RolloutEventWorldRestored | RolloutEventFinished

/** So many processes of a version are ready. */
export interface RolloutGateHealth {
  readonly kind: 'health'
  /** How many. */
  readonly replicas: number
  /** The version. */
  readonly version: string
}

/** The weights were in force, and every version that gets traffic was ready for its share, for this long. */
export interface RolloutGatePause {
  readonly kind: 'pause'
  /** How long. */
  readonly span: spec.SpanText
}

/** As a pause, and the judge has not condemned the new version; a proof of safety opens it early. */
export interface RolloutGateAnalysis {
  readonly kind: 'analysis'
  /** How long at most. */
  readonly bake: spec.SpanText
}

/** Somebody promotes. */
export interface RolloutGateApproval {
  readonly kind: 'approval'
}

/** What a plan waits for. */
export type RolloutGate = RolloutGateHealth | RolloutGatePause | RolloutGateAnalysis | RolloutGateApproval

/** What is asked of the world, as far as plans change it. */
export interface RolloutLayout {
  /** Processes by version; a version with none is absent. */
  readonly sizes: Readonly<Record<string, number>>
  /** The version that counts as good. */
  readonly stable: string | null
  /** Shares of traffic, in hundredths of a percent; they add up to 10,000, or there are none. */
  readonly weights: Readonly<Record<string, number>>
}

/** Gives a version this many processes. Inverse: the number before. */
export interface RolloutMoveScale {
  readonly kind: 'scale'
  /** How many processes. */
  readonly replicas: number
  /** The version. */
  readonly version: string
}

/** Shares traffic out. Inverse: the shares before. */
export interface RolloutMoveRoute {
  readonly kind: 'route'
  /** Shares in hundredths of a percent. */
  readonly weights: Readonly<Record<string, number>>
}

/** Waits until something holds. Inverse: none. */
export interface RolloutMoveGate {
  readonly kind: 'gate'
  /** What is waited for. */
  readonly gate: RolloutGate
}

/** The version counts as good from here on. Inverse: the version before. */
export interface RolloutMovePromote {
  readonly kind: 'promote'
  /** The version; `None` takes the first release back. */
  readonly version: string | null
}

/** Drains and ends all processes of a version that gets no traffic. Inverse: the number before. */
export interface RolloutMoveRetire {
  readonly kind: 'retire'
  /** The version. */
  readonly version: string
}

/** One move of a plan. */
export type RolloutMove = RolloutMoveScale | RolloutMoveRoute | RolloutMoveGate | RolloutMovePromote | RolloutMoveRetire

/**
 * How a rollout ended.
 *
 * `promoted`: The new version is the stable one.
 *
 * `rolled_back`: The rollout turned back by itself; what served before serves as before.
 *
 * `aborted`: Somebody took it back before its version was promoted; what served before serves as before.
 *
 * `reverted`: Somebody took it back after its version was promoted; what served before serves as before.
 *
 * `stuck`: The way back could not be walked to its end. Both versions are kept, and a person is needed.
 */
export type RolloutOutcome = 'promoted' | 'rolled_back' | 'aborted' | 'reverted' | 'stuck'

/** Why a rollout stands still until somebody says how to go on. */
export interface RolloutPause {
  /** Who paused it; `None` when it paused itself. */
  readonly by: string | null
  /** Why, in one sentence. */
  readonly reason: string
}

/** Everything that a rollout began with. What is written here is never computed again. */
export interface RolloutStart {
  /** Numbered behaviour: runs that began under a flag end under it. 1 is the first. */
  readonly behaviour: number
  /** How to start every version that is or will be running; `replicas` is the full size. */
  readonly definitions: Readonly<Record<string, DesiredVersion>>
  /** The epoch of the weights before this rollout. */
  readonly epoch: number
  /** What was asked of the world before. */
  readonly from: RolloutLayout
  /** The generation of the last ask before this rollout. */
  readonly generation: number
  /** The versions that could be reverted to before. */
  readonly kept: readonly string[]
  /** The moves. */
  readonly plan: readonly RolloutMove[]
  /** The run that the rollout belongs to. */
  readonly run: string
  /** How the service was served before; `None` for a first release. */
  readonly served: Serving | null
  /** Its step within the run. */
  readonly step: string
  /** The checked spec. */
  readonly terms: RolloutTerms
  /** The version that is shipped. */
  readonly version: string
}

/** A checked rollout or revert, as the start event records it. */
export interface RolloutTerms {
  /** How long requests under way may take to end before an instance is stopped. */
  readonly drain: spec.SpanText
  /** The new version's full size in processes. */
  readonly full: number
  /** How long after SIGTERM an instance is killed. */
  readonly grace: spec.SpanText
  /** The judge, with all its numbers. */
  readonly judge: JudgeTerms | null
  /** How long the old version is kept running after promotion. */
  readonly keepOld: spec.SpanText
  /** How many former versions can be reverted to. */
  readonly keepVersions: number
  /** Whether somebody must promote. */
  readonly manual: boolean
  /** How long a move may take, and how long what gets traffic may be unready. */
  readonly progressDeadline: spec.SpanText
  /** When an instance of the new version is ready. */
  readonly ready: spec.CheckSpec | null
  /** How many crashes are too many when passed. */
  readonly restartLimit: number
  /** The service. */
  readonly service: string
  /** How the service is served. */
  readonly serving: Serving
  /** In which moves the new version takes over. */
  readonly strategy: StrategyTerms
}

/**
 * How a run ended.
 *
 * `succeeded`: No step failed that is not allowed to.
 *
 * `failed`: A step failed.
 *
 * `cancelled`: It was cancelled before it was through.
 */
export type RunOutcome = 'succeeded' | 'failed' | 'cancelled'

/** A run in the journal. */
export interface RunRow {
  /** Whether nothing more will happen. */
  readonly finished: boolean
  /** The run's id. */
  readonly id: string
  /** The run's key, unique within the pipeline; its id if it was started without one. */
  readonly key: string
  /** The pipeline's name. */
  readonly pipeline: string
  /** When it was started. */
  readonly started: Date
  /** Its status for people, such as `running`. */
  readonly status: string
}

/** What is known of a service. */
export interface Service {
  /** The rollout that holds it. */
  readonly claim: Claim | null
  /** Versions that were stable before and can be reverted to, the latest first. */
  readonly kept: readonly string[]
  /** How the last rollout ended. */
  readonly last: LastRollout | null
  /** What was lost of the world and has not been seen whole since. */
  readonly lost: string | null
  /** Its name. */
  readonly name: string
  /** Processes by version, as last asked for; a version with none is absent. */
  readonly sizes: Readonly<Record<string, number>>
  /** The version that counts as good; nothing before the first release. */
  readonly stable: string | null
  /** What is needed to start each version that is known. */
  readonly versions: Readonly<Record<string, spec.Release>>
  /** Percent of the traffic by version, as last asked for. */
  readonly weights: Readonly<Record<string, number>>
}

/**
 * What there is of a service now, and what its proxy has counted since it began to listen. It begins anew, with
 * zeros, when the supervisor is started again, or the service after its removal.
 */
export interface ServiceStats {
  /** Where the proxy listens; nothing while it can't. */
  readonly address?: string
  /** Clients connected now, with an upgraded connection too. */
  readonly clients: number
  /**
   * The instances, in the order in which they were begun. One keeps its place here when its process is started
   * again.
   */
  readonly instances: readonly InstanceStats[]
  /** Requests that were refused before they were routed (400, 405, 413, 417, 501). */
  readonly refused: number
  /** Requests that no instance was ready for (503). */
  readonly unrouted: number
  /** What was counted, by version. */
  readonly versions: Readonly<Record<string, VersionStats>>
}

/** The part of the desired state that belongs to the service as a whole and to no version. */
export interface Serving {
  /** Where the proxy listens. */
  readonly listen: string
  /** The largest request body in bytes. */
  readonly maxBodyBytes: number
  /** How requests are counted. */
  readonly measure: Measure
  /** How long a request may take until the first byte of its answer. */
  readonly requestTimeout: spec.SpanText
}

/** A step that it waits for did not end as it must. */
export interface SkipReasonNeed {
  readonly kind: 'need'
  /** How that step ended. */
  readonly ended: StepEnded
  /** The step that it waits for. */
  readonly step: string
  /** How it had to end. */
  readonly when: spec.When
}

/** The run was cancelled before it could start. */
export interface SkipReasonCancelled {
  readonly kind: 'cancelled'
  /** Who cancelled the run. */
  readonly by: string
}

/** Another step failed, and the pipeline is to stop at the first failure. */
export interface SkipReasonFailFast {
  readonly kind: 'fail_fast'
  /** The step that failed. */
  readonly step: string
}

/** The run was ended without its program, which has the function. */
export interface SkipReasonNoProgram {
  readonly kind: 'no_program'
  /** The function. */
  readonly function: string
}

/** Why a step will not run. */
export type SkipReason = SkipReasonNeed | SkipReasonCancelled | SkipReasonFailFast | SkipReasonNoProgram

/** The command exited with a code other than 0. */
export interface StepCauseExitCode {
  readonly kind: 'exit_code'
  /** The code. */
  readonly code: number
}

/** A signal ended the command. */
export interface StepCauseSignal {
  readonly kind: 'signal'
  /** The signal's number. */
  readonly signal: number
}

/** The function raised an exception, returned an error or panicked. */
export interface StepCauseException {
  readonly kind: 'exception'
}

/** The attempt took too long. */
export interface StepCauseTimeout {
  readonly kind: 'timeout'
}

/** All attempts together took too long. */
export interface StepCauseDeadline {
  readonly kind: 'deadline'
}

/** There is no such program, directory, function or secret. */
export interface StepCauseNotFound {
  readonly kind: 'not_found'
}

/** The operating system refused to start it. */
export interface StepCauseCanNotStart {
  readonly kind: 'can_not_start'
}

/**
 * What it returned is not a value that can be stored, or what it was given is not of the type that it takes. A
 * function's is never tried again.
 */
export interface StepCauseBadValue {
  readonly kind: 'bad_value'
}

/** It ended and nobody knows how. */
export interface StepCauseLost {
  readonly kind: 'lost'
}

/** Somebody answered that it failed. */
export interface StepCauseResolved {
  readonly kind: 'resolved'
}

/** A rollout did not end with its new version promoted. */
export interface StepCauseRolledBack {
  readonly kind: 'rolled_back'
  /** How it ended. */
  readonly outcome: RolloutOutcome
}

/** It contradicts what is recorded, such as a second rollout of one service. */
export interface StepCauseRefused {
  readonly kind: 'refused'
}

/** What kind of failure ended an attempt. */
export type StepCause = StepCauseExitCode | StepCauseSignal | StepCauseException | StepCauseTimeout | StepCauseDeadline | StepCauseNotFound | StepCauseCanNotStart | StepCauseBadValue | StepCauseLost | StepCauseResolved | StepCauseRolledBack | StepCauseRefused

/**
 * How a step ended, in one word.
 *
 * `succeeded`: It succeeded.
 *
 * `failed`: It failed.
 *
 * `skipped`: It did not run.
 *
 * `cancelled`: It was cancelled.
 */
export type StepEnded = 'succeeded' | 'failed' | 'skipped' | 'cancelled'

/** Why an attempt failed. Texts come from outside and must be masked before they get here. */
export interface StepError {
  /** What kind of failure. */
  readonly cause: StepCause
  /** More about it, such as a traceback. */
  readonly detail?: string
  /** The last lines that it wrote. */
  readonly lastLines?: readonly string[]
  /** One sentence: `exited with code 3`. */
  readonly message: string
  /** Whether another attempt would fail as well: it is not repeated, whatever the step's retry says. */
  readonly permanent?: boolean
}

/** It succeeded. */
export interface StepResultSucceeded {
  readonly kind: 'succeeded'
  /** What it returned; `null` if nothing. */
  readonly value: unknown
}

/** It failed. */
export interface StepResultFailed {
  readonly kind: 'failed'
  /** Why. */
  readonly error: StepError
}

/** It was stopped, or ended while it waited for its next attempt or for an answer. */
export interface StepResultCancelled {
  readonly kind: 'cancelled'
  /** Why. */
  readonly why: StopWhy
}

/** How a step ended. */
export type StepResult = StepResultSucceeded | StepResultFailed | StepResultCancelled

/** The attempt took too long. */
export interface StopWhyTimeout {
  readonly kind: 'timeout'
}

/** All attempts together took too long. */
export interface StopWhyDeadline {
  readonly kind: 'deadline'
}

/** The run was cancelled. */
export interface StopWhyCancelled {
  readonly kind: 'cancelled'
  /** Who cancelled it. */
  readonly by: string
}

/** Another step failed, and the pipeline is to stop at the first failure. */
export interface StopWhyFailFast {
  readonly kind: 'fail_fast'
  /** The step that failed. */
  readonly step: string
}

/** Why an attempt is stopped. */
export type StopWhy = StopWhyTimeout | StopWhyDeadline | StopWhyCancelled | StopWhyFailFast

/** Traffic goes over in steps. */
export interface StrategyTermsCanary {
  readonly kind: 'canary'
  /** How long each is watched. */
  readonly bake: spec.SpanText
  /** The new version's shares, rising. */
  readonly steps: readonly number[]
}

/** All traffic goes over at once. */
export interface StrategyTermsBlueGreen {
  readonly kind: 'blue_green'
  /** How long the new version is watched before promotion. */
  readonly bake: spec.SpanText
}

/** Back to a former version, at once. */
export interface StrategyTermsRevert {
  readonly kind: 'revert'
}

/** A checked strategy; shares are in hundredths of a percent. */
export type StrategyTerms = StrategyTermsCanary | StrategyTermsBlueGreen | StrategyTermsRevert

/**
 * Where a line was written.
 *
 * `stdout`: Standard output.
 *
 * `stderr`: Standard error.
 */
export type Stream = 'stdout' | 'stderr'

/** Why an instance does not serve. */
export interface Trouble {
  /** The last lines that it wrote. */
  readonly lastLines: readonly string[]
  /** One sentence: `exited with code 3, 0.2 s after its start`. */
  readonly what: string
}

/** What a check of everything found. */
export interface Verified {
  /** Commits that were checked. */
  readonly commits: number
  /** What is wrong, in the order in which it was found; the first 100 are listed. */
  readonly damages: readonly Damage[]
  /** Events that were checked. */
  readonly events: number
  /** Streams that were checked. */
  readonly streams: number
  /** How much more is wrong than is listed. */
  readonly unlisted: number
}

/** What a version looked like: the part of an observation that decisions rest on. */
export interface VersionSeen {
  /** Of these, how many may get traffic. */
  readonly ready: number
  /** How often a process ended by itself. */
  readonly restarts: number
  /** Processes that run, draining ones included. */
  readonly running: number
  /** The last thing that went wrong, its output cut to the last lines. */
  readonly trouble?: Trouble
}

/** What was counted for a version, warm-up included. A request counts under the version first drawn for it. */
export interface VersionStats {
  /** Requests that the client left (or broke) before the first byte of the answer. */
  readonly abandoned: number
  /**
   * Requests that are bad in windows and readings though no client got an error: a try failed at an instance of
   * this version, and another one made up for it, or the client left meanwhile.
   */
  readonly blamed: number
  /** Of these the bad ones, as clients got them. */
  readonly errors: number
  /** Requests under way. */
  readonly inFlight: number
  /** Requests that had no answer when their window was handed out, and so are in no window. */
  readonly late: number
  /** The time from routing to the first byte of the answer. */
  readonly latency: Latency
  /** Requests that got an answer, or that failed. */
  readonly requests: number
  /** How often a request was sent again. */
  readonly retries: number
}

/** The counts of one closed window: the integers from which all evidence is folded, as they stand in an event. */
export interface WindowCounts {
  /** The release that is judged. */
  readonly canary: spec.SideCounts
  /** The canary's assigned share of the requests of both, in hundredths of a percent: 1,000 is 10 %. */
  readonly share: number
  /** What it is compared with; zeros when there is no such side. */
  readonly stable: spec.SideCounts
}

/** How long the answers to a window's requests took. Events of earlier versions don't have it. */
export interface WindowLatency {
  /** Those of the release that is judged; nothing where there were none. */
  readonly canary?: LatencyQuantiles
  /** Those of what it is compared with; nothing where there were none. */
  readonly stable?: LatencyQuantiles
}

/** What the world looked like. */
export interface WorldSeen {
  /** Whether that is because the address can't be listened on. */
  readonly cantListen?: boolean
  /** The epoch of the weights in force. */
  readonly epoch: number
  /** The generation in force. */
  readonly generation: number
  /** Why nothing can be served, if so. */
  readonly trouble?: string
  /** Every version that is desired or still has processes. */
  readonly versions: Readonly<Record<string, VersionSeen>>
}

/** One event of a run: recorded, or output while it comes. */
export type RunEvent = Fact | OutputEvent

/**
 * By type (of a union with the kind), those of its fields that hold a time or another type of events: itself or in a
 * list; with a star, in an object whose names are the user's. All else is handed on as it is: values, and specs as the
 * core has them.
 */
export const holds: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'Fact:run_started': { at: 'Time' },
  'Fact:run_resumed': { at: 'Time' },
  'Fact:step_started': { at: 'Time' },
  'Fact:step_stopping': { at: 'Time', why: 'StopWhy' },
  'Fact:step_finished': { at: 'Time', result: 'StepResult' },
  'Fact:step_retrying': { at: 'Time', next_attempt_at: 'Time', why: 'StepError' },
  'Fact:step_skipped': { at: 'Time', reason: 'SkipReason' },
  'Fact:step_cut_off': { at: 'Time' },
  'Fact:step_asks': { at: 'Time', question: 'Question' },
  'Fact:step_resolved': { at: 'Time' },
  'Fact:cancel_requested': { at: 'Time' },
  'Fact:command_refused': { at: 'Time' },
  'Fact:rollout': { at: 'Time', event: 'RolloutEvent' },
  'Fact:run_finished': { at: 'Time' },
  'Fact:run_reopened': { at: 'Time' },
  JudgeTerms: { abandoned: 'AbandonedRule', blackout: 'BlackoutRule' },
  Latency: { buckets: 'LatencyBucket' },
  'RolloutEvent:started': { start: 'RolloutStart' },
  'RolloutEvent:seen': { seen: 'WorldSeen' },
  'RolloutEvent:move_began': { step: 'RolloutMove' },
  'RolloutEvent:window_judged': { counts: 'WindowCounts', latency: 'WindowLatency' },
  'RolloutEvent:verdict': { explanation: 'Explanation' },
  'RolloutEvent:paused': { pause: 'RolloutPause' },
  'RolloutEvent:turned_back': { back: 'RolloutMove' },
  'RolloutMove:gate': { gate: 'RolloutGate' },
  RolloutStart: { definitions: 'DesiredVersion*', from: 'RolloutLayout', plan: 'RolloutMove', served: 'Serving', terms: 'RolloutTerms' },
  RolloutTerms: { judge: 'JudgeTerms', serving: 'Serving', strategy: 'StrategyTerms' },
  RunRow: { started: 'Time' },
  Service: { claim: 'Claim', last: 'LastRollout' },
  ServiceStats: { instances: 'InstanceStats', versions: 'VersionStats*' },
  Serving: { measure: 'Measure' },
  StepError: { cause: 'StepCause' },
  'StepResult:failed': { error: 'StepError' },
  'StepResult:cancelled': { why: 'StopWhy' },
  Verified: { damages: 'Damage' },
  VersionSeen: { trouble: 'Trouble' },
  VersionStats: { latency: 'Latency' },
  WindowLatency: { canary: 'LatencyQuantiles', stable: 'LatencyQuantiles' },
  WorldSeen: { versions: 'VersionSeen*' },
}
