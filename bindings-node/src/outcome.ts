/** How a run ended, or where it stopped. */

import { fromCore } from './convert.js'
import { errorFrom, TidegateError } from './errors.js'
import { native } from './native.js'
import type * as spec from './spec.js'
import type { Step } from './step.js'

/** How a step ended. */
export interface StepOutcome {
  /** How it ended. */
  readonly status: spec.StepStatus
  /** How many attempts were begun. */
  readonly attempts: number
  /** What it returned; absent when that was nothing. */
  readonly value?: unknown
  /** Why it failed, was skipped or cancelled, or what it asks; one sentence. */
  readonly reason?: string
  /** More about a failure, such as an exception's stack. */
  readonly detail?: string
  /** The last lines that a failed command wrote. */
  readonly lastLines?: readonly string[]
}

/** How a run ended, or where it stopped. */
export class Outcome {
  /** The run's id. */
  readonly run: string
  /** The key under which it was started. */
  readonly key: string | null
  /** How it ended; `asking` when it stopped and waits for `Run.resolve`. */
  readonly status: spec.Status
  /** Every step, by name. */
  readonly steps: Readonly<Record<string, StepOutcome>>
  readonly #text: string

  /** An outcome as the core wrote it. */
  constructor(text: string) {
    const told = fromCore<{ run: string; key: string | null; status: spec.Status; steps: Record<string, StepOutcome> }>(
      'Outcome',
      JSON.parse(text) as object,
    )
    this.run = told.run
    this.key = told.key
    this.status = told.status
    this.steps = told.steps
    this.#text = text
  }

  /** Whether it succeeded. */
  get succeeded(): boolean {
    return this.status === 'succeeded'
  }

  /**
   * What a step returned, parsed from what the journal holds.
   *
   * @throws TidegateError `not_found` when there is no such step or it did not succeed.
   */
  value<T>(step: Step<T>): T {
    const outcome = this.steps[step.name]
    if (outcome?.status !== 'succeeded') {
      throw new TidegateError('not_found', `the step has no value (step: ${step.name})`, {
        context: { step: step.name },
        ...(outcome?.reason === undefined ? {} : { help: outcome.reason }),
      })
    }
    return (outcome.value ?? null) as T
  }

  /**
   * The outcome itself if the run succeeded.
   *
   * @throws TidegateError `failed`, `cancelled` or `needs_answer`, with the first step that explains it.
   */
  ok(): this {
    const fault = native.failure(this.#text)
    if (fault !== null) {
      throw errorFrom(fault.error)
    }
    return this
  }
}
