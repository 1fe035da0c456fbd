/** Steps and what they are told when they run. */

import type { Duration } from './convert.js'
import type { ProcessOptions, RetryOptions } from './options.js'
import type * as spec from './spec.js'

declare const output: unique symbol

/** A step of a pipeline whose value is a `T`: hand it to the steps that take it, or to `after`. */
export class Step<out T = unknown> {
  /** The step's name. */
  readonly name: string
  /** Only a type: the value is there when the step has run. */
  declare readonly [output]: T

  constructor(name: string) {
    this.name = name
  }
}

/** The value of a step. */
export type Value<S> = S extends Step<infer T> ? T : never

/** The values of steps, in order. */
export type Values<I extends readonly Step[]> = { -readonly [K in keyof I]: Value<I[K]> }

/** Something that a step waits for: a step or its name, which must succeed, or one that must end in another way. */
export type Need = Step | string | { readonly step: Step | string; readonly when: spec.When }

/** What every step can have. */
export interface StepOptions {
  /** What it waits for. */
  readonly after?: readonly Need[]
  /** How failed attempts are repeated, or how many there are; by default one. */
  readonly retry?: RetryOptions | number
  /**
   * How long one attempt may take; no limit by default. A function that goes on after its stop is given up after 10 s;
   * the next attempt begins once it has ended.
   */
  readonly timeout?: Duration
  /** How long all attempts and the waits between them may take; no limit by default. */
  readonly deadline?: Duration
  /** Whether it never runs again by itself after a crash in the middle: the run then stops and asks. */
  readonly once?: boolean
  /**
   * Whether it cleans up: it runs also after failures and when the run is cancelled. A cancel does not stop it, nor does a
   * second one: give one that may hang a timeout.
   */
  readonly cleanup?: boolean
  /** Whether the run can succeed although this step fails. */
  readonly allowFailure?: boolean
  /** A version of what it does: a changed function body can't be seen, a changed version can. */
  readonly version?: string
}

/** A step that runs a program. */
export interface CommandOptions extends StepOptions, ProcessOptions {
  /** What its value is: nothing (the default), or its standard output as text or JSON. */
  readonly output?: spec.Output
}

/** A step that calls a function. */
export interface FunctionOptions<I extends readonly Step[] = readonly []> extends StepOptions {
  /** Steps whose values the function is given, in this order. It waits for each of them to succeed. */
  readonly inputs?: I
}

/** What a running function step knows of itself. */
export interface Context {
  /** The run's id. */
  readonly run: string
  /** The step's name. */
  readonly step: string
  /** Counts up from 1 with every try, those that a crash cut off included. */
  readonly attempt: number
  /** The fencing token: higher for each attempt. Let what the step writes to refuse a lower one. */
  readonly token: number
  /** The same for every attempt of this step in this run. Hand it to services that deduplicate. */
  readonly idempotencyKey: string
  /** The run's params. */
  readonly params: unknown
  /** Fires when the step is to stop: by a cancel, a timeout, or because another step failed. */
  readonly signal: AbortSignal
}

/** What a rollout or revert says when its version is the stable one. */
export interface Promoted {
  /** `promoted`. */
  readonly outcome: string
  /** The version that is stable now. */
  readonly version: string | null
  /** Why, in one sentence that names the evidence. */
  readonly reason: string
}
