/** Calls of the user's functions: they come as numbered messages and are answered by number. */

import { inspect } from 'node:util'
import { fromCore } from './convert.js'
import { PermanentError } from './errors.js'
import { refresh } from './log.js'
import type { StepFunction } from './pipeline.js'
import type { Context } from './step.js'
import { encode, ValueError } from './values.js'

/** The longest detail of an exception that is recorded, in characters. */
const MAX_DETAIL = 16_384

/** What the native part says. */
type Message =
  | {
      readonly kind: 'call'
      readonly id: number
      readonly registry: number
      readonly function: string
      readonly context: object
      readonly inputs: readonly unknown[]
    }
  | { readonly kind: 'probe'; readonly id: number; readonly function: string }
  | { readonly kind: 'stop'; readonly id: number }
  | { readonly kind: 'forget'; readonly registry: number }

/** Gives an answer by number, as JSON text. */
export type Finish = (id: number, reply: string) => void

/** The functions of the runs of an engine, and those that are under way. */
export class Calls {
  readonly #registries = new Map<number, ReadonlyMap<string, StepFunction>>()
  readonly #running = new Map<number, AbortController>()
  readonly #finish: Finish
  #last = 0

  constructor(finish: Finish) {
    this.#finish = finish
  }

  /** Keeps functions under a number until the native part forgets it. */
  register(functions: ReadonlyMap<string, StepFunction>): number {
    this.#last += 1
    this.#registries.set(this.#last, functions)
    return this.#last
  }

  /** Takes a message. Never throws: whatever goes wrong is the answer of the call. */
  take(text: string): void {
    refresh()
    const message = JSON.parse(text) as Message
    switch (message.kind) {
      case 'call': {
        const call = this.#registries.get(message.registry)?.get(message.function)
        void this.#run(message.id, message.function, (signal) => {
          if (call === undefined) {
            throw new TypeError(`no function is registered under the name: ${message.function}`)
          }
          const context = { ...fromCore<Omit<Context, 'signal'>>('Context', message.context), signal }
          return call(context, ...message.inputs)
        })
        break
      }
      case 'stop':
        this.#running.get(message.id)?.abort()
        break
      case 'forget':
        this.#registries.delete(message.registry)
        break
      case 'probe':
        break
    }
  }

  async #run(id: number, name: string, call: (signal: AbortSignal) => unknown): Promise<void> {
    const abort = new AbortController()
    this.#running.set(id, abort)
    this.#finish(id, await reply(name, () => call(abort.signal)))
    this.#running.delete(id)
  }
}

/** Calls a function, sync or async, and puts what it returned or threw into an answer. */
export async function reply(name: string, call: () => unknown): Promise<string> {
  try {
    const value = await call()
    return `{"value":${encode(value, `the value that ${name} returned`)}}`
  } catch (thrown) {
    return JSON.stringify({ error: failure(thrown) })
  }
}

function failure(thrown: unknown): object {
  let message: string
  let detail: string
  try {
    message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : `threw ${inspect(thrown)}`
    detail = inspect(thrown, { depth: 4 })
  } catch (again) {
    // A getter or an own `inspect` may throw as well.
    message = 'threw what can not be shown'
    detail = String(again)
  }
  return {
    // What is cut through, or was no Unicode before, can't be stored.
    message: message.slice(0, MAX_DETAIL).toWellFormed(),
    detail: (detail.length > MAX_DETAIL ? `${detail.slice(0, MAX_DETAIL)}…` : detail).toWellFormed(),
    bad_value: thrown instanceof ValueError,
    permanent: thrown instanceof PermanentError,
  }
}
