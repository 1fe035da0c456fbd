/**
 * Ships software safely from inside your own program: typed pipelines, health checks and rollouts over one embedded,
 * durable journal.
 *
 * ```ts
 * const release = new Pipeline('release')
 * const build = release.command('build', ['npm', 'run', 'build'])
 * const image = release.step('package', { after: [build] }, async (ctx): Promise<Release> => ({
 *   version: 'v1.4.2',
 *   command: ['node', 'dist/shop.js'],
 * }))
 * release.rollout('ship', canary('shop', { steps: [5, 25, 50], bake: '2m', serve, judge: sequential() }), { release: image })
 *
 * const engine = await Engine.open('release.db')
 * const outcome = await engine.run(release, { key: 'v1.4.2' })   // again with the same key: resumes
 * ```
 */

export { Check, type CheckFunction, type Found, type Transition } from './check.js'
export type { Duration } from './convert.js'
export { Engine, type EngineOptions, type RunOptions, type StartOptions } from './engine.js'
export { type Fault, type Kind, PermanentError, TidegateError } from './errors.js'
export type * as events from './events.js'
export type { RunEvent, RunRow, Service, ServiceStats } from './events.js'
export { cancelOnCtrlC } from './interrupt.js'
export type {
  BlueGreenOptions,
  CanaryOptions,
  CheckOptions,
  CommandProbeOptions,
  HttpOptions,
  Judge,
  JudgeOptions,
  Probe,
  ProcessOptions,
  RetryOptions,
  RevertOptions,
  Rollout,
  RolloutOptions,
  ServeOptions,
} from './options.js'
export { Outcome, type StepOutcome } from './outcome.js'
export { Pipeline, type PipelineOptions } from './pipeline.js'
export type { LogMessage } from './log.js'
export { type FollowOptions, Reader } from './reader.js'
export type { Verified } from './records.js'
export {
  type CheckRecord,
  type Comparison,
  EProcess,
  type EProcessOptions,
  type Explanation,
  type Judged,
  type MetricEvidence,
  type OutlierOptions,
  Outliers,
  replay,
  retryDelays,
  type SideCounts,
  type Standing,
  type Tally,
  type WindowRecord,
} from './replay.js'
export { blueGreen, canary, command, http, sequential, tcp } from './rollout.js'
export { Run, type Saying, type StepAnswer } from './run.js'
export { Secret, secret } from './secret.js'
export type {
  BlackoutSpec,
  Form,
  Jitter,
  Law,
  OnInconclusive,
  PromoteSpec,
  Release,
  State,
  Status,
  StepStatus,
  Verdict,
  When,
} from './spec.js'
export {
  type CommandOptions,
  type Context,
  type FunctionOptions,
  type Need,
  type Promoted,
  Step,
  type StepOptions,
  type Value,
  type Values,
} from './step.js'
export { type Returned, type Stored, ValueError } from './values.js'
