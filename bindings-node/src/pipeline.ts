/** A pipeline under construction. It makes the core's definition and a set of functions; all checks happen there. */

import { toSpec } from './convert.js'
import type { ProcessOptions, RevertOptions, Rollout } from './options.js'
import { Secret } from './secret.js'
import type * as spec from './spec.js'
import {
  type CommandOptions,
  type Context,
  type FunctionOptions,
  type Need,
  type Promoted,
  Step,
  type StepOptions,
  type Values,
} from './step.js'
import type { Returned } from './values.js'

/** A registered function, as it is called. */
export type StepFunction = (context: Context, ...inputs: unknown[]) => unknown

/** A function that is given the values of the steps `I`. */
type Call<I extends readonly Step[], R> = (context: Context, ...inputs: Values<I>) => R

/** The value of a command with that output. */
type Printed<O> = O extends { readonly output: infer P }
  ? P extends 'text'
    ? string
    : P extends 'json' | 'last_line_json'
      ? unknown
      : null
  : null

/** How a pipeline runs. */
export interface PipelineOptions {
  /** How many steps run at a time; by default as many as there are cores. */
  readonly maxParallel?: number
  /** Whether the first failure stops the steps that run and skips the rest, cleanup steps excepted. */
  readonly failFast?: boolean
}

/** Steps in the order in which they are defined, each free to run as soon as what it waits for has ended. */
export class Pipeline {
  /** The pipeline's name. */
  readonly name: string
  readonly #options: PipelineOptions
  readonly #steps: spec.StepSpec[] = []
  readonly #functions = new Map<string, StepFunction>()

  constructor(name: string, options: PipelineOptions = {}) {
    this.name = name
    this.#options = options
  }

  /** A step that runs a program in a process group of its own; it succeeds with exit code 0. */
  command<const O extends CommandOptions = Record<never, never>>(
    name: string,
    argv: readonly string[],
    options?: O,
  ): Step<Printed<O>> {
    return this.#command(name, { kind: 'command', argv: [...argv] }, options ?? {})
  }

  /** A step that runs a script with `sh -eu`. */
  shell<const O extends CommandOptions = Record<never, never>>(
    name: string,
    script: string,
    options?: O,
  ): Step<Printed<O>> {
    return this.#command(name, { kind: 'command', shell: script }, options ?? {})
  }

  /**
   * A step that calls a function, sync or async, with a context and the values of `inputs`. What it returns must be JSON;
   * who takes the value gets it parsed from the journal, so that a resumed run sees the same. An exception fails the
   * step, and nothing else.
   */
  step<R>(name: string, call: Call<readonly [], R>): Step<Returned<Awaited<R>>>
  step<const I extends readonly Step[] = readonly [], R = unknown>(
    name: string,
    options: FunctionOptions<I>,
    call: Call<NoInfer<I>, R>,
  ): Step<Returned<Awaited<R>>>
  step(
    name: string,
    first: FunctionOptions<readonly Step[]> | StepFunction,
    second?: (context: Context, ...inputs: never) => unknown,
  ): Step<never> {
    const [{ inputs = [], ...options }, call] = typeof first === 'function' ? [{}, first] : [first, second]
    if (typeof call !== 'function') {
      throw new TypeError(`step ${JSON.stringify(name)} needs a function`)
    }
    this.#functions.set(name, call as StepFunction)
    const names = inputs.map((step) => step.name)
    return this.#add(name, { kind: 'function', function: name }, options, names)
  }

  /**
   * A step that ships a release of a service, step by step; it succeeds when that is promoted. `release` says what: a
   * release, or the step that returns one.
   */
  rollout(
    name: string,
    rollout: Rollout,
    options: StepOptions & { readonly release: spec.Release | Step<spec.Release> },
  ): Step<Promoted> {
    const { release, ...rest } = options
    const action: spec.ActionSpecRollout = { kind: 'rollout', rollout: toSpec('RolloutSpec', rollout) }
    if (!(release instanceof Step)) {
      action.release = release
    }
    return this.#add(name, action, rest, release instanceof Step ? [release.name] : [])
  }

  /** A step that takes a service back to a version that was stable before. */
  revert(name: string, service: string, options: RevertOptions & StepOptions = {}): Step<Promoted> {
    const { to, progressDeadline, keepOld, ...rest } = options
    const revert = toSpec<spec.RevertSpec>('RevertSpec', { service, to, progressDeadline, keepOld })
    return this.#add(name, { kind: 'revert', revert }, rest, [])
  }

  /** The definition as data, as the core reads it. */
  toJSON(): spec.PipelineSpec {
    return { name: this.name, ...toSpec<object>('PipelineSpec', this.#options), steps: this.#steps.map((step) => ({ ...step })) }
  }

  /** The functions of its steps, by name. */
  functions(): ReadonlyMap<string, StepFunction> {
    return new Map(this.#functions)
  }

  #command(name: string, action: spec.ActionSpecCommand, options: CommandOptions): Step<never> {
    const { env, dir, grace, output, ...rest } = options
    const more: { [K in keyof (ProcessOptions & { output: spec.Output })]: unknown } = { dir, grace, output, env: variables(env) }
    return this.#add(name, { ...action, ...toSpec<object>('ActionSpec', more) }, rest, [])
  }

  #add(name: string, action: spec.ActionSpec, options: StepOptions, inputs: string[]): Step<never> {
    const { after, retry, once, ...rest } = options
    const step: spec.StepSpec = {
      name,
      action,
      ...toSpec<object>('StepSpec', {
        ...rest,
        retry: typeof retry === 'number' ? { attempts: retry } : retry,
        after: after === undefined || after.length === 0 ? undefined : after.map(need),
        inputs: inputs.length === 0 ? undefined : inputs,
        guarantee: once === true ? 'once' : undefined,
      }),
    }
    this.#steps.push(step)
    return new Step<never>(name)
  }
}

function need(need: Need): spec.NeedSpec {
  const name = (step: Step | string): string => (typeof step === 'string' ? step : step.name)
  return typeof need === 'string' || need instanceof Step
    ? { step: name(need) }
    : { step: name(need.step), when: need.when }
}

function variables(env: ProcessOptions['env']): Record<string, spec.EnvValue> | undefined {
  if (env === undefined) {
    return undefined
  }
  const pairs = Object.entries(env).map(([name, value]): [string, spec.EnvValue] => [
    name,
    value instanceof Secret ? { kind: 'secret', name: value.name } : { kind: 'text', value },
  ])
  return Object.fromEntries(pairs)
}
