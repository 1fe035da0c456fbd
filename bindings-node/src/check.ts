/** Health checks: a probe or a function, run again and again, and what state follows from its results. */

import { reply } from './calls.js'
import { toSpec } from './convert.js'
import { native, type NativeWatch, unwrap } from './native.js'
import type { CheckOptions, Probe } from './options.js'
import { type CheckRecord, type Standing, standings } from './replay.js'
import type { State, Verdict } from './spec.js'

/** What a check's function may return: nothing or `true` passes, `false` fails. What it throws fails with that reason. */
export type Found = boolean | void | { readonly verdict: Verdict; readonly reason?: string }

/** A function that looks at something. */
export type CheckFunction = () => Found | Promise<Found>

/** A change of a check's state. */
export interface Transition {
  /** The state before. */
  readonly from: State
  /** The state now. */
  readonly to: State
  /** When it changed. */
  readonly at: Date
  /** The rule that was met: `3 of 3 failures in a row`. */
  readonly rule: string
  /** What the last result said: `status 503`. */
  readonly reason: string
}

/** A check: what is probed, how often, and how its results count. */
export class Check {
  readonly #target: Probe | CheckFunction
  readonly #options: CheckOptions

  /** Of a probe (`http`, `tcp`, `command`) or a function, sync or async. */
  constructor(target: Probe | CheckFunction, options: CheckOptions = {}) {
    this.#target = target
    this.#options = options
  }

  /** The check as data, as the core reads it; without a probe for a function. */
  toJSON(): object {
    const probe = typeof this.#target === 'function' ? undefined : this.#target
    return toSpec<object>('CheckSpec', { ...this.#options, probe })
  }

  /**
   * Watches from now on and gives each change of state, until `signal` is aborted or the loop over it is left. Functions
   * are called on this thread's event loop, one call at a time.
   *
   * @throws TidegateError `invalid` with everything that is wrong with the check.
   */
  async *watch(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<Transition, void, void> {
    const { signal } = options
    if (signal?.aborted === true) {
      return
    }
    const target = this.#target
    const name = typeof target === 'function' ? target.name || 'check' : target.kind
    const listener = (text: string): void => {
      const message = JSON.parse(text) as { kind: string; id: number }
      if (message.kind === 'probe' && typeof target === 'function') {
        void reply(name, async () => found(await target())).then((answer) => watch.finish(message.id, answer))
      }
    }
    const seed = Math.floor(Math.random() * 2 ** 32)
    const watch: NativeWatch = unwrap(native.watch(JSON.stringify(this), name, seed, listener))
    const stop = (): void => watch.stop()
    signal?.addEventListener('abort', stop, { once: true })
    try {
      for (;;) {
        const told = JSON.parse(unwrap(await watch.next())) as (Omit<Transition, 'at'> & { at: number }) | null
        if (told === null) {
          return
        }
        yield { ...told, at: new Date(told.at) }
      }
    } finally {
      signal?.removeEventListener('abort', stop)
      watch.stop()
    }
  }

  /**
   * How this check stands after each of the records, by the machine that runs live: what other thresholds would have made
   * of recorded results. A verdict alone is a result of a probe that was started when it was due.
   *
   * The check starts at `start`: by default with the first record, or in 1970 when that has no time of its own. `seed`
   * decides the jitter. A result counts whenever it came, unless probing had not begun or had ended by then.
   *
   * @throws TidegateError `invalid` with everything that is wrong with the check or with the records.
   */
  replay(
    records: readonly (CheckRecord | Verdict)[],
    options: { readonly start?: Date; readonly seed?: number } = {},
  ): Standing[] {
    return standings(this.toJSON(), records, options)
  }
}

function found(found: Found): { verdict: Verdict; reason?: string } {
  if (typeof found === 'object') {
    return found
  }
  return found === false ? { verdict: 'fail', reason: 'the function returned false' } : { verdict: 'pass' }
}
