/**
 * What crosses into the core and back, as types. @generated
 *
 * Generated from the core by `cargo run -p tidegate-generate`: change it there.
 */

/** Runs a program in a process group of its own. It succeeds with exit code 0. */
export interface ActionSpecCommand {
  kind: 'command'
  /** The program and its arguments. Either this or `shell`. */
  argv?: string[]
  /** The working directory; by default that of the program that runs the pipeline. */
  dir?: string | null
  /** Variables for its environment, besides those of the program that runs the pipeline. */
  env?: Record<string, EnvValue>
  /** How long after SIGTERM its group is killed; `10s` by default. */
  grace?: SpanText | null
  /** What its value is. */
  output?: Output
  /** A script for `sh -eu`. Either this or `argv`. */
  shell?: string | null
}

/** Calls a function of the program that runs the pipeline. */
export interface ActionSpecFunction {
  kind: 'function'
  /** The name under which it is registered. */
  function: string
}

/** Ships a release of a service, step by step; it succeeds when that is promoted. */
export interface ActionSpecRollout {
  kind: 'rollout'
  /** What; by default the value of the first step in `inputs`. */
  release?: Release | null
  /** How. */
  rollout: RolloutSpec
}

/** Takes a service back to a version that was stable before. */
export interface ActionSpecRevert {
  kind: 'revert'
  /** To which, and how. */
  revert: RevertSpec
}

/** What a step does. */
export type ActionSpec = ActionSpecCommand | ActionSpecFunction | ActionSpecRollout | ActionSpecRevert

/** No such guard. */
export interface BlackoutSpecOff {
  kind: 'off'
}

/** Enough bad readings running, while the stable side is well. */
export interface BlackoutSpecOn {
  kind: 'on'
  /** The share of bad ones, 0 to 1, from which a reading is bad; 0.5 by default. */
  bad?: number | null
  /** How many bad readings running it takes; 2 by default. */
  readings?: number | null
  /** How many canary requests make a reading; 20 by default. */
  requests?: number | null
  /** The stable side is well while its share of bad ones, 0 to 1, is under this; 0.05 by default. */
  stable?: number | null
}

/**
 * The guard that turns a release back at once when it fails altogether: it needs no statistics, and stands
 * outside alpha.
 */
export type BlackoutSpec = BlackoutSpecOff | BlackoutSpecOn

/**
 * One thing that is recorded of a check: a result, a restart of what is checked, or, with neither, a mere look
 * at the time.
 */
export interface CheckRecord {
  /**
   * When; of a result, when its probe was started. In milliseconds since 1970. By default a result's probe was
   * started when it was due (after probing has ended, an interval after the record before), and all else
   * happened with the record before.
   */
  at?: Time | null
  /** Or the exit code of a command: the check says what it means. */
  exit_code?: number | null
  /** Why, in one line. */
  reason?: string
  /** What is checked was started anew. */
  restarted?: boolean
  /** Or the status that an HTTP probe was answered with: the check says what it means. */
  status?: number | null
  /** How long the probe took; nothing by default. Longer than the check's timeout is a failure. */
  took?: SpanText | null
  /** What the result said. */
  verdict?: Verdict | null
}

/** A check: a probe, how often it runs, and how its results count. */
export interface CheckSpec {
  /** Failures in a row that make it degraded; by default none do. */
  degrade?: number | null
  /** The interval while it is failing; `interval` by default. */
  failing_interval?: SpanText | null
  /** Failures in a row that make it failing; 3 by default. */
  fall?: number | null
  /** The interval while failures are counted that are not enough yet; `interval` by default. */
  falling_interval?: SpanText | null
  /** The first result that counts is enough by itself, whatever `rise` and `fall`. */
  first_result_applies?: boolean
  /**
   * States (of `passing`, `degraded`, `failing`) that end the probing until a restart, once a result led to
   * them.
   */
  hold?: State[]
  /** The state before anything is concluded; `starting` by default. */
  initial?: State | null
  /** How long after the start the first probe runs; at once by default. */
  initial_delay?: SpanText | null
  /** The time from one probe's start to the next one's; `5s` by default. */
  interval?: SpanText | null
  /** A random part of up to this many percent is added to each interval; 10 by default. */
  jitter?: number | null
  /** With no pass or failure for this long, the state becomes `stale`; by default results don't age. */
  max_age?: SpanText | null
  /** What is probed. */
  probe: ProbeSpec
  /** Passes in a row that make it passing; 1 by default. */
  rise?: number | null
  /** The interval while passes are counted that are not enough yet; `interval` by default. */
  rising_interval?: SpanText | null
  /** `unknown` (the default) or `failing`: the state when results are older than `max_age`. */
  stale?: State | null
  /** The interval in the start period, before the first pass; `100ms` by default, and never more than `interval`. */
  start_interval?: SpanText | null
  /** How long after the start failures don't count, until the first pass; `30s` by default. */
  start_period?: SpanText | null
  /** How long a probe may take; `1s` by default. */
  timeout?: SpanText | null
  /** Unknown results in a row that make it unknown; 3 by default, 0 for never. */
  unknown_after?: number | null
}

/** Stop what runs, skip the rest, clean up; rollouts go back. */
export interface CommandCancel {
  verb: 'cancel'
  /** Who says so. */
  by: string
  /** Why. */
  reason: string
}

/**
 * Answer a step's question, while its run waits for that. A run that has ended takes no answers: start it again
 * with `rerun_failed`.
 */
export interface CommandResolve {
  verb: 'resolve'
  /** The answer. */
  answer: StepAnswer
  /** Who says so. */
  by: string
  /** The step. */
  step: string
}

/**
 * Skip what a rollout waits for now: an approval, a bake or analysis before its time, or the readiness of an old
 * version that is sick, never the new version's; also go on with a paused one. Gates that come later still wait,
 * so that a promotion sent during a bake does not open the approval after it. Refused while the rollout waits
 * for none of these.
 */
export interface CommandPromote {
  verb: 'promote'
  /** Who says so. */
  by: string
  /** Why. */
  reason: string
  /** The rollout's step. */
  step: string
}

/** Begin no further move of a rollout until it is resumed. */
export interface CommandPause {
  verb: 'pause'
  /** Who says so. */
  by: string
  /** Why. */
  reason: string
  /** The rollout's step. */
  step: string
}

/** Go on with a paused rollout. */
export interface CommandResume {
  verb: 'resume'
  /** Who says so. */
  by: string
  /** Why. */
  reason: string
  /** The rollout's step. */
  step: string
}

/**
 * Take back a rollout whose version is not promoted yet; it wins over every pause and gate. Refused after that:
 * see `revert`.
 */
export interface CommandAbort {
  verb: 'abort'
  /** Who says so. */
  by: string
  /** Why. */
  reason: string
  /** The rollout's step. */
  step: string
}

/**
 * Take back a rollout that is under way, also when its version is promoted and the old one is kept: the old one
 * gets all traffic and is the stable one again. Before the promotion it is the same as an abort. After the
 * rollout's end a run with a revert step does it.
 */
export interface CommandRevert {
  verb: 'revert'
  /** Who says so. */
  by: string
  /** Why. */
  reason: string
  /** The rollout's step. */
  step: string
}

/** A command to a run. */
export type Command = CommandCancel | CommandResolve | CommandPromote | CommandPause | CommandResume | CommandAbort | CommandRevert

/** An e-process as data. */
export interface EProcessSpec {
  /** How a window's counts become a factor. */
  law: Law
  /** The grid: bets, ratios or rates, as the law has them. */
  points: number[]
  /** One positive number for each point, scaled to add up to 1; equal ones by default. */
  weights?: number[] | null
}

/** A text. It is recorded with the definition: not for secrets. */
export interface EnvValueText {
  kind: 'text'
  /** The text. */
  value: string
}

/** A secret, looked up when the step starts. Only its name is recorded. */
export interface EnvValueSecret {
  kind: 'secret'
  /** The secret's name. */
  name: string
}

/** The value of a variable of a command's environment. */
export type EnvValue = EnvValueText | EnvValueSecret

/** New against old, one step for each window: errors may come in bursts of any size within a window. */
export interface FormWindow {
  kind: 'window'
}

/**
 * New against old, one step for each error: faster, and right only when errors are independent of each other (in
 * bursts of five, three of ten good releases are condemned).
 */
export interface FormEvent {
  kind: 'event'
}

/** New against a stated objective, with no stable side. A bad day for everything then condemns the release. */
export interface FormAbsolute {
  kind: 'absolute'
  /** Whether errors are independent of each other. Unless they are, windows are judged. */
  independent?: boolean
  /** The rate of errors, as a share of requests, that is still fine: 0.001 for 99.9 % of good ones. */
  objective: number
}

/** What is compared, and how errors may cling together. */
export type Form = FormWindow | FormEvent | FormAbsolute

/**
 * What may happen to a step when the program is killed in the middle of an attempt.
 *
 * `idempotent`: It runs again, with the same idempotency key and a higher attempt.
 *
 * `once`: It never runs again by itself: the run stops and asks.
 */
export type Guarantee = 'idempotent' | 'once'

/**
 * How the wait between attempts is drawn.
 *
 * `full`: Evenly between nothing and the computed wait ("Full Jitter" of the AWS Architecture Blog, "Exponential
 * Backoff And Jitter").
 *
 * `none`: Always the computed wait.
 */
export type Jitter = 'full' | 'none'

/**
 * The sequential judge of error rates. Everything has a default: `{}` is a judge.
 *
 * With several metrics, give each its part of alpha: the chance of a false alarm on any is at most their sum.
 */
export interface JudgeSpec {
  /** The chance that a release which is no worse is ever condemned; 0.01 by default. */
  alpha?: number | null
  /**
   * The rate of errors, as a share of requests, for which `detect` is asked when the stable side shows fewer;
   * 0.001 by default. (Three times no errors could never be found.) The absolute form asks for its objective
   * instead.
   */
  base_rate?: number | null
  /** The chance that a release which is `safe` times as bad or worse is ever found safe; 0.05 by default. */
  beta?: number | null
  /** The guard against a release that fails altogether; on by default. */
  blackout?: BlackoutSpec | null
  /** How long errors cling together; `10s` by default. */
  burst?: SpanText | null
  /**
   * To pass, as many canary requests must have been seen as find this ratio of rates with a power of 80 %; 3 by
   * default.
   */
  detect?: number | null
  /** What is compared, and how errors may cling together; in windows by default. */
  form?: Form | null
  /** What follows when the bake is over and too little was seen to tell; `pause` by default. */
  inconclusive?: OnInconclusive | null
  /**
   * A release proven to stay below this many times the stable side's rate (or the objective) may go on before
   * the bake is over. Without it nothing ends a bake early.
   */
  safe?: number | null
  /** How many times the stable side's rate of errors (or the objective) is tolerated; 1 by default. */
  tolerate?: number | null
  /** Requests don't count while any instance became ready less than this ago; `10s` by default. */
  warmup?: SpanText | null
  /** The length of a window; `10s` by default, and never under `burst`. */
  window?: SpanText | null
}

/**
 * Window form. Points: bets f in (0, 1). With X = k_c / (k_c + k_s) and θ = θ(margin), harm: 1 + f(X − θ)/θ,
 * safe: 1 − f(X − θ)/(1 − θ). Valid however errors cling together within a window.
 */
export interface LawBetting {
  kind: 'betting'
  /** The ratio of rates at the edge of the null; 1 by default. */
  margin?: number
  /** What large evidence speaks for; harm by default. */
  side?: Side
}

/**
 * Event form. Points: ratios r above 1. With θ₁ = θ(margin·r) for harm, θ(margin/r) for safe: (θ₁/θ)^k_c ((1 −
 * θ₁)/(1 − θ))^k_s. Valid only when errors are independent of each other.
 */
export interface LawEvents {
  kind: 'events'
  /** The ratio of rates at the edge of the null; 1 by default. */
  margin?: number
  /** What large evidence speaks for; harm by default. */
  side?: Side
}

/**
 * Absolute form in windows, of the canary alone. Points: bets f in (0, 1). Harm: 1 + f(k/n − p0)/p0, safe: 1 −
 * f(k/n − p0)/(1 − p0).
 */
export interface LawAbsoluteBetting {
  kind: 'absolute_betting'
  /** The rate p0 at the edge of the null. */
  null: number
  /** What large evidence speaks for; harm by default. */
  side?: Side
}

/**
 * Absolute form by events, of the canary alone. Points: rates q in (0, 1), above p0 for harm and below it for
 * safety: (q/p0)^k ((1 − q)/(1 − p0))^(n−k). Valid only when errors are independent of each other.
 */
export interface LawAbsoluteEvents {
  kind: 'absolute_events'
  /** The rate p0 at the edge of the null. */
  null: number
}

/** How one window's counts become a factor of E, at one point (a bet, a ratio or a rate) of a grid. */
export type Law = LawBetting | LawEvents | LawAbsoluteBetting | LawAbsoluteEvents

/** One thing that a step waits for. */
export interface NeedSpec {
  /** The step that it waits for. */
  step: string
  /** How that step must have ended; `success` by default, `done` for cleanup steps. */
  when?: When | null
}

/**
 * What follows when the bake is over, nothing condemns the release, and too little was seen to say that it is
 * well.
 *
 * `pause`: Wait where it is and ask a human, as Argo Rollouts does: missing data is not good news.
 *
 * `roll_back`: Back to the old version.
 *
 * `pass`: Go on: nothing condemned it.
 */
export type OnInconclusive = 'pause' | 'roll_back' | 'pass'

/** How a run ended, or where it stopped. */
export interface Outcome {
  /** The key under which it was started. */
  key: string | null
  /** The run's id. */
  run: string
  /** How it ended. */
  status: Status
  /** Every step, by name. */
  steps: Record<string, StepOutcome>
}

/** What a user says about outliers. Everything has a default, and the defaults are Envoy's. */
export interface OutlierSpec {
  /** How long a member is set aside the first time, and n times as long the n-th time; `30s` by default. */
  base?: SpanText | null
  /** How many standard deviations below the mean the limit lies, to thousandths; 1.9 by default. */
  deviations?: number | null
  /** The longest that a member is set aside, never less than `base`; `5m` by default. */
  max?: SpanText | null
  /** How many percent of the members may be set aside at once, one always; 10 by default. */
  max_percent?: number | null
  /** Fewer members than this with enough requests are not compared; 5 by default. */
  min_members?: number | null
  /** Members with fewer requests than this are neither compared nor set aside; 100 by default. */
  min_requests?: number | null
}

/**
 * What the value of a command is.
 *
 * `none`: None: `null`.
 *
 * `text`: Its standard output as text, without the last line's end; at most 1 MiB.
 *
 * `json`: Its standard output as JSON; at most 1 MiB.
 *
 * `last_line_json`: The last line of its standard output that is not empty, as JSON.
 */
export type Output = 'none' | 'text' | 'json' | 'last_line_json'

/** A pipeline: steps, and how many run at a time. `PipelineSpec::check` makes a `super::Pipeline` of it. */
export interface PipelineSpec {
  /** Whether the first failure stops the steps that run and skips the rest, cleanup steps excepted. */
  fail_fast?: boolean
  /** How many steps run at a time; by default as many as there are cores. */
  max_parallel?: number | null
  /** The pipeline's name. */
  name: string
  /** Its steps. Of steps that could start at the same time, the one that is defined first starts first. */
  steps: StepSpec[]
}

/** An HTTP GET over a new connection. Redirects are answers like any other and are not followed. */
export interface ProbeSpecHttp {
  kind: 'http'
  /** Of the statuses that don't pass: those that make it failing at once, whatever the threshold. */
  fail_now?: string[]
  /** Statuses that pass, as codes and ranges; `["200-399"]` by default. */
  pass?: string[] | null
  /** The URL, such as `http://{host}:{port}/healthz`. */
  url: string
  /** Statuses that pass with a warning, whatever else they are. */
  warn?: string[]
}

/** A TCP connection that passes when it is accepted. */
export interface ProbeSpecTcp {
  kind: 'tcp'
  /** The address, such as `{host}:{port}`. */
  address: string
}

/**
 * A command that passes with exit code 0. It runs in a process group of its own, all of which is gone
 * afterwards. One that can't be started is unknown, not failed.
 */
export interface ProbeSpecCommand {
  kind: 'command'
  /** The program and its arguments; no shell. */
  argv: string[]
  /** Exit codes that say nothing (3 for monitoring plugins). */
  unknown?: number[]
  /** Exit codes that pass with a warning (1 for monitoring plugins). */
  warn?: number[]
}

/**
 * What is probed. Where a check belongs to an instance of a service, `{host}` and `{port}` stand for its
 * address.
 */
export type ProbeSpec = ProbeSpecHttp | ProbeSpecTcp | ProbeSpecCommand

/**
 * Who promotes.
 *
 * `auto`: The rollout by itself.
 *
 * `manual`: A person or program, with the command `promote`.
 */
export type PromoteSpec = 'auto' | 'manual'

/** One version of a service, ready to be started: what a build step returns and a rollout takes. */
export interface Release {
  /**
   * The program and its arguments. The port to listen on comes in the environment variable `PORT`, the address
   * in `HOST`.
   */
  command: string[]
  /** The working directory, or one below that of the program that ships it; by default the latter itself. */
  dir?: string | null
  /** Variables for its environment, besides those of the supervisor. Not for secrets: releases are recorded. */
  env?: Record<string, string>
  /** The version's name, such as `v1.4.2`; unique within the service. */
  version: string
}

/**
 * How a failed attempt is repeated: exponential backoff, capped, with jitter. A function that returned what
 * can't be stored is not called again.
 */
export interface RetrySpec {
  /** How many attempts may fail before the step has failed, the first one included; 1 to 10,000. */
  attempts: number
  /** The longest wait; `5m` by default. */
  cap?: SpanText | null
  /** By how much the wait grows with each failure; 1 to 1,000, 2 by default. */
  factor?: number | null
  /** The wait after the first failure; `1s` by default. */
  initial?: SpanText | null
  /** How the wait is drawn; `full` by default. */
  jitter?: Jitter | null
}

/** Back to a version that was stable before. */
export interface RevertSpec {
  /** How long the present version is kept running after the change; `30s` by default. */
  keep_old?: SpanText | null
  /** How long a move may take; `10m` by default. */
  progress_deadline?: SpanText | null
  /** The service. */
  service: string
  /**
   * The version; by default the one that was stable before the present one. The stable version itself clears up
   * what a stuck rollout has left.
   */
  to?: string | null
}

/** How a new version takes over from the old one. */
export interface RolloutSpec {
  /**
   * What decides whether the new version is worse than the old one. Without a judge only readiness and crashes
   * turn a rollout back.
   */
  judge?: JudgeSpec | null
  /**
   * How long the old version is kept running after promotion; `30s` by default. Until then a new version that
   * crashes again and again, or that the blackout guard finds dead, still goes back by itself.
   */
  keep_old?: SpanText | null
  /** How many former versions can be reverted to; 2 by default. */
  keep_versions?: number | null
  /**
   * How long a move may take, and how long a version that gets traffic may be unready, before the rollout turns
   * back; `10m` by default.
   */
  progress_deadline?: SpanText | null
  /** Whether somebody must promote before the new version gets all traffic; `auto` by default. */
  promote?: PromoteSpec | null
  /** How many crashes of the new version's processes turn the rollout back when passed; 3 by default. */
  restart_limit?: number | null
  /** How the service is run and served. */
  serve: ServeSpec
  /** The service that is shipped to. */
  service: string
  /** In which moves the new version takes over. A service's first release ignores it: nothing serves yet. */
  strategy: StrategySpec
}

/** How a service is run and served: supervised local processes behind the embedded proxy. */
export interface ServeSpec {
  /** How long requests under way may take to end before an instance is stopped; `30s` by default. */
  drain?: SpanText | null
  /** How long after SIGTERM an instance is killed; `10s` by default. */
  grace?: SpanText | null
  /** Where the embedded proxy listens, such as `127.0.0.1:8080`. */
  listen: string
  /** The largest request body in bytes; 64 MiB by default. */
  max_body_bytes?: number | null
  /** When an instance is ready for traffic. By default: when the process that was started listens on its port. */
  ready?: CheckSpec | null
  /** How many processes serve in full size: 1 to 1,000. */
  replicas: number
  /** How long a request may take until the first byte of its answer; `60s` by default. */
  request_timeout?: SpanText | null
}

/**
 * What large evidence speaks for.
 *
 * `harm`: The canary is worse than the null allows.
 *
 * `safe`: The canary is better than the null says.
 */
export type Side = 'harm' | 'safe'

/** What was counted on one side. */
export interface SideCounts {
  /** Requests besides, which the client left before the first byte of an answer. */
  abandoned?: number
  /** Of these the bad ones. A window with more of them than `requests` is not judged. */
  errors: number
  /** Requests that were routed to this side in the window and have ended. */
  requests: number
}

/**
 * A duration as a user wrote it, such as `"30s"`. It is checked with the rest of the spec, so that a bad one is
 * reported together with every other fault.
 */
export type SpanText = string

/**
 * What is held of the thing that is checked.
 *
 * `starting`: Nothing was concluded yet.
 *
 * `passing`: It works.
 *
 * `degraded`: It works with complaints, or has failed less often than it takes to be failing.
 *
 * `failing`: It does not work.
 *
 * `unknown`: There is no data, or the prober can't do its work. Neither passing nor failing.
 */
export type State = 'starting' | 'passing' | 'degraded' | 'failing' | 'unknown'

/**
 * How a run ended.
 *
 * `succeeded`: No step failed that is not allowed to.
 *
 * `failed`: A step failed.
 *
 * `cancelled`: It was cancelled before it was through.
 *
 * `asking`: It stopped and asks: see `resolve`.
 */
export type Status = 'succeeded' | 'failed' | 'cancelled' | 'asking'

/** It took effect, with this value. */
export interface StepAnswerDone {
  kind: 'done'
  /** What it would have returned. */
  value?: unknown
}

/** It shall run again. */
export interface StepAnswerRunAgain {
  kind: 'run_again'
}

/** It has failed. */
export interface StepAnswerFail {
  kind: 'fail'
}

/** The answer to a step that stopped and asks. */
export type StepAnswer = StepAnswerDone | StepAnswerRunAgain | StepAnswerFail

/** How a step ended. */
export interface StepOutcome {
  /** How many attempts were begun. */
  attempts: number
  /** More about a failure, such as a traceback. */
  detail?: string | null
  /** The last lines that a failed command wrote. */
  last_lines?: string[]
  /** Why it failed, was skipped or cancelled, or what it asks; one sentence. */
  reason?: string | null
  /** How it ended. */
  status: StepStatus
  /** What it returned. */
  value?: unknown
}

/** One step. */
export interface StepSpec {
  /** What it does. */
  action: ActionSpec
  /** What it waits for. */
  after?: NeedSpec[]
  /** Whether its failure counts: if allowed, the run can succeed and steps that wait for its success go on. */
  allow_failure?: boolean
  /**
   * Whether it cleans up: it runs also after failures and when the run is cancelled. What it names in `after`
   * has ended (in any way, unless it says otherwise); if it names nothing, it runs after every ordinary step. A
   * cancel does not stop it, nor does a second one: give one that may hang a timeout.
   */
  cleanup?: boolean
  /** How long all attempts and the waits between them may take, from the first start; no limit by default. */
  deadline?: SpanText | null
  /** What may happen to it when the program is killed in the middle of an attempt. */
  guarantee?: Guarantee
  /** Steps whose values it is given, in this order. It waits for each of them to succeed. */
  inputs?: string[]
  /** The step's name; unique within the pipeline. */
  name: string
  /** How a failed attempt is repeated; by default it is not. */
  retry?: RetrySpec | null
  /**
   * How long one attempt may take; no limit by default. A function that goes on after its stop is given up after
   * 10 s; the next attempt begins once it has ended.
   */
  timeout?: SpanText | null
  /** A version of what a function does. A changed body can't be seen; a changed version can. */
  version?: string | null
}

/**
 * Where a step stands.
 *
 * `waiting`: It has not started.
 *
 * `running`: It runs, or waits for its next attempt.
 *
 * `asking`: It stopped and asks.
 *
 * `succeeded`: It succeeded.
 *
 * `failed`: It failed.
 *
 * `skipped`: It did not run.
 *
 * `cancelled`: It was cancelled.
 */
export type StepStatus = 'waiting' | 'running' | 'asking' | 'succeeded' | 'failed' | 'skipped' | 'cancelled'

/** Traffic goes over in steps, with a bake after each. */
export interface StrategySpecCanary {
  kind: 'canary'
  /** How long each step is watched; where it is judged, at least the judge's warm-up and one of its windows. */
  bake: SpanText
  /** Percent of the traffic in each step, rising; 100 may be the last. */
  steps: number[]
}

/**
 * The new version comes up in full beside the old one and gets all traffic at once. The old one then gets no
 * requests to compare with: only the absolute form of a judge, and its blackout guard, have a say.
 */
export interface StrategySpecBlueGreen {
  kind: 'blue_green'
  /**
   * How long it is watched before it is promoted, with the old one warm; not at all by default. Where it is
   * judged, at least the judge's warm-up and one of its windows.
   */
  bake?: SpanText | null
}

/** In which moves the new version takes over. */
export type StrategySpec = StrategySpecCanary | StrategySpecBlueGreen

/** What a member's requests came to within one window. */
export interface Tally {
  /** Requests that ended. */
  requests: number
  /** Of these the good ones. */
  successes: number
}

/** An instant: milliseconds since 1970-01-01T00:00:00Z. */
export type Time = number

/**
 * What one result says, before it is counted.
 *
 * `pass`: As it should be.
 *
 * `warn`: It works, and complains. Counts as a pass; the state that it leads to is degraded.
 *
 * `fail`: It does not work.
 *
 * `fail_now`: It does not work and won't by asking again: failing at once, whatever the threshold.
 *
 * `unknown`: Nothing was learnt: the prober was not permitted, lacked something, or broke. Neither pass nor
 * fail.
 */
export type Verdict = 'pass' | 'warn' | 'fail' | 'fail_now' | 'unknown'

/**
 * How a step that another one waits for must have ended. It looks at that step alone, not at what that one
 * waited for.
 *
 * `success`: It succeeded, or failed and is allowed to.
 *
 * `failure`: It failed, allowed or not. A step that was skipped or cancelled has not failed.
 *
 * `done`: It ended in any way: succeeded, failed, skipped or cancelled.
 */
export type When = 'success' | 'failure' | 'done'

/** One recorded window. */
export interface WindowRecord {
  /** The release that is judged. */
  canary: SideCounts
  /** The canary's assigned share of the requests of both, 0 to 1; by default the share that it got. */
  share?: number | null
  /** What it is compared with; nothing for the absolute forms. */
  stable?: SideCounts
}

/**
 * By type and field, what a field holds if it is not handed on as it is: a duration, or a type of this table (itself or
 * in a list; with a star, in an object whose names are the user's).
 */
export const fields = {
  ActionSpec: { env: 'EnvValue*', grace: 'SpanText', release: 'Release', revert: 'RevertSpec', rollout: 'RolloutSpec' },
  BlackoutSpec: {},
  CheckRecord: { took: 'SpanText' },
  CheckSpec: { failing_interval: 'SpanText', falling_interval: 'SpanText', initial_delay: 'SpanText', interval: 'SpanText', max_age: 'SpanText', probe: 'ProbeSpec', rising_interval: 'SpanText', start_interval: 'SpanText', start_period: 'SpanText', timeout: 'SpanText' },
  Command: { answer: 'StepAnswer' },
  EProcessSpec: { law: 'Law' },
  EnvValue: {},
  Form: {},
  JudgeSpec: { blackout: 'BlackoutSpec', burst: 'SpanText', form: 'Form', warmup: 'SpanText', window: 'SpanText' },
  Law: {},
  NeedSpec: {},
  Outcome: { steps: 'StepOutcome*' },
  OutlierSpec: { base: 'SpanText', max: 'SpanText' },
  PipelineSpec: { steps: 'StepSpec' },
  ProbeSpec: {},
  Release: {},
  RetrySpec: { cap: 'SpanText', initial: 'SpanText' },
  RevertSpec: { keep_old: 'SpanText', progress_deadline: 'SpanText' },
  RolloutSpec: { judge: 'JudgeSpec', keep_old: 'SpanText', progress_deadline: 'SpanText', serve: 'ServeSpec', strategy: 'StrategySpec' },
  ServeSpec: { drain: 'SpanText', grace: 'SpanText', ready: 'CheckSpec', request_timeout: 'SpanText' },
  SideCounts: {},
  StepAnswer: {},
  StepOutcome: {},
  StepSpec: { action: 'ActionSpec', after: 'NeedSpec', deadline: 'SpanText', retry: 'RetrySpec', timeout: 'SpanText' },
  StrategySpec: { bake: 'SpanText' },
  Tally: {},
  WindowRecord: { canary: 'SideCounts', stable: 'SideCounts' },
} as const
