/** What observers of a run are shown. */

import { fromCore, type Table } from './convert.js'
import type * as spec from './spec.js'

/** Why an attempt failed. */
export interface StepError {
  /** One sentence: `exited with code 3`. */
  readonly message: string
  /** What kind of failure. */
  readonly cause: { readonly kind: string; readonly code?: number; readonly signal?: number; readonly outcome?: string }
  /** More about it, such as an exception's stack. */
  readonly detail?: string
  /** The last lines that it wrote. */
  readonly lastLines?: readonly string[]
  /** Whether another attempt would fail as well. */
  readonly permanent?: boolean
}

/** Why an attempt is stopped. */
export type StopWhy =
  | { readonly kind: 'timeout' | 'deadline' }
  | { readonly kind: 'cancelled'; readonly by: string }
  | { readonly kind: 'fail_fast'; readonly step: string }

/** How a step ended. */
export type StepResult =
  | { readonly kind: 'succeeded'; readonly value: unknown }
  | { readonly kind: 'failed'; readonly error: StepError }
  | { readonly kind: 'cancelled'; readonly why: StopWhy }

/** Why a step will not run. */
export type SkipReason =
  | { readonly kind: 'need'; readonly step: string; readonly ended: string; readonly when: spec.When }
  | { readonly kind: 'cancelled'; readonly by: string }
  | { readonly kind: 'fail_fast'; readonly step: string }

/** What a step that waits for an answer asks. */
export type Question =
  | { readonly kind: 'did_it_happen'; readonly attempt: number }
  | { readonly kind: 'cut_off_too_often'; readonly times: number }

/** What happened in a rollout. Its fields beyond `kind` are those of the journal, in camel case. */
export interface RolloutEvent {
  readonly kind:
    | 'started'
    | 'seen'
    | 'move_began'
    | 'move_done'
    | 'held'
    | 'hold_ended'
    | 'window_judged'
    | 'window_left_out'
    | 'verdict'
    | 'gate_opened'
    | 'paused'
    | 'resumed'
    | 'turned_back'
    | 'promoted'
    | 'world_lost'
    | 'world_restored'
    | 'finished'
  readonly [field: string]: unknown
}

/** What is recorded of a run, without number and time. */
export type Fact =
  | {
      readonly kind: 'run_started'
      readonly run: string
      readonly key: string | null
      /** The definition as the core has it. */
      readonly definition: spec.PipelineSpec
      readonly definitionHash: string
      readonly params: unknown
      readonly paramsHash: string
      readonly seed: number
      readonly maxParallel: number
      readonly epoch: number
      readonly flags: readonly number[]
    }
  | { readonly kind: 'run_resumed'; readonly epoch: number }
  | { readonly kind: 'step_started'; readonly step: string; readonly attempt: number; readonly token: number }
  | { readonly kind: 'step_stopping'; readonly step: string; readonly attempt: number; readonly why: StopWhy }
  | { readonly kind: 'step_finished'; readonly step: string; readonly attempt: number; readonly result: StepResult }
  | {
      readonly kind: 'step_retrying'
      readonly step: string
      readonly attempt: number
      /** When the next attempt may start. */
      readonly nextAttemptAt: Date
      readonly why: StepError
    }
  | { readonly kind: 'step_skipped'; readonly step: string; readonly reason: SkipReason }
  | {
      readonly kind: 'step_cut_off'
      readonly step: string
      readonly attempt: number
      /** That the engine was closed, and stopped it or had not begun it. Without it nobody knows what became of it. */
      readonly by?: 'close' | 'close_before_start'
    }
  | { readonly kind: 'step_asks'; readonly step: string; readonly question: Question }
  | { readonly kind: 'step_resolved'; readonly step: string; readonly answer: spec.StepAnswer; readonly by: string }
  | { readonly kind: 'cancel_requested'; readonly by: string; readonly reason: string }
  | {
      readonly kind: 'command_refused'
      readonly verb: string
      readonly step?: string
      readonly by: string
      readonly why: string
    }
  | { readonly kind: 'rollout'; readonly step: string; readonly event: RolloutEvent }
  | { readonly kind: 'run_finished'; readonly outcome: 'succeeded' | 'failed' | 'cancelled' }
  | { readonly kind: 'run_reopened'; readonly by: string; readonly epoch: number; readonly steps: readonly string[] }

/** A fact with its place: durable, in order, none left out. */
export type Recorded = Fact & {
  /** Its number within the run. */
  readonly seq: number
  /** When it was recorded. */
  readonly at: Date
}

/** A line that a step writes, shown while it comes; not recorded in the journal. */
export interface OutputLine {
  readonly kind: 'output'
  readonly step: string
  readonly attempt: number
  readonly stream: 'stdout' | 'stderr'
  readonly line: string
}

/** A slow reader missed so many lines of output. Recorded events are never missed. */
export interface OutputMissed {
  readonly kind: 'output_missed'
  readonly lines: number
}

/** What observers of a run are shown. */
export type RunEvent = Recorded | OutputLine | OutputMissed

/** What in events holds names of the core's; the rest (values, definitions, names of versions) stays as it is. */
const TABLE: Table = {
  RunEvent: { result: 'StepResult', why: 'StepError', event: 'RolloutEvent' },
  StepResult: { error: 'StepError' },
  StepError: {},
  RolloutEvent: { seen: 'Seen', counts: 'Counts', explanation: 'Explanation' },
  Seen: { versions: 'Sight*' },
  Sight: { trouble: 'Trouble' },
  Trouble: {},
  Counts: {},
  Explanation: {},
}

/** An event as the core writes it. */
export function eventFrom(text: string): RunEvent {
  const event = fromCore<Record<string, unknown>>('RunEvent', JSON.parse(text) as object, TABLE)
  if (typeof event['at'] === 'string') {
    event['at'] = new Date(event['at'])
  }
  if (event['kind'] === 'step_retrying' && typeof event['nextAttemptAt'] === 'number') {
    event['nextAttemptAt'] = new Date(event['nextAttemptAt'])
  }
  return event as unknown as RunEvent
}
