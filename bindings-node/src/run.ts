/** A run: its events, its outcome, and commands to it. */

import { userInfo } from 'node:os'
import { TidegateError } from './errors.js'
import type { RunEvent } from './events.js'
import { publish, refresh } from './log.js'
import { type Answer, type NativeEngine, type NativeRun, unwrap } from './native.js'
import { Outcome } from './outcome.js'
import { eventFrom } from './records.js'
import type * as spec from './spec.js'
import { Step } from './step.js'
import { encode } from './values.js'

/** How many events are taken at a time. */
const BATCH = 256

/** Who says so, and why. Both are recorded. */
export interface Saying {
  /** Who; by default the user that this process belongs to. */
  readonly by?: string
  /** Why; nothing by default. */
  readonly reason?: string
}

/** The answer to a step that stopped and asks. */
export type StepAnswer =
  /** It took effect, with this value. */
  | { readonly done: unknown }
  /** It shall run again. */
  | 'run_again'
  /** It has failed. */
  | 'fail'

/** A run that an engine drives. Letting go of it changes nothing: the engine goes on driving while the process lives. */
export class Run implements AsyncIterable<RunEvent> {
  readonly #engine: NativeEngine
  readonly #run: NativeRun
  readonly #signal: AbortSignal | undefined
  /** Settles once the cancel that the signal asked for is recorded or refused; says which. */
  #aborted: Promise<boolean> | undefined
  readonly #onAbort: () => void

  /** Runs are made by `Engine.start`. */
  constructor(engine: NativeEngine, run: NativeRun, signal?: AbortSignal) {
    this.#engine = engine
    this.#run = run
    this.#signal = signal
    this.#onAbort = () => {
      const reason = signal?.reason instanceof Error ? signal.reason.message : String(signal?.reason)
      this.#aborted = this.cancel({ reason: `the signal was aborted: ${reason}` }).then(
        () => true,
        // The run had ended before; any other error is also that of waiting for the outcome.
        () => false,
      )
    }
    if (signal?.aborted === true) {
      this.#onAbort()
    } else {
      signal?.addEventListener('abort', this.#onAbort, { once: true })
    }
  }

  /** The run's id. */
  get id(): string {
    return this.#run.id
  }

  /**
   * Waits until the run has ended or stopped to ask. While somebody waits, the process stays alive.
   *
   * @throws the reason of the signal that the run was started with, once a run that it cancelled has ended.
   */
  async outcome(): Promise<Outcome> {
    return await this.#ended(() => this.#run.outcome())
  }

  /**
   * Shows the run on standard error until it has ended or stopped to ask, and resolves to the outcome as `outcome` does.
   *
   * On a terminal, lines stay for what happened, and below them stand each running step with its time and last line, and
   * a rollout's traffic, errors and evidence. What the program prints meanwhile may be drawn over. With `NO_COLOR` there
   * is no colour. In GitHub Actions and GitLab CI what each step wrote is a group that can be folded, and failures are
   * annotations. Elsewhere, and with `TERM=dumb`, it is lines as `lines` gives them.
   *
   * It is written to the file descriptor 2, whatever `process.stderr` is. The run never waits for who reads; if 5 s pass
   * after the end without anything being read, the rest is left out.
   */
  async show(): Promise<Outcome> {
    return await this.#ended(() => this.#run.show())
  }

  async #ended(ends: () => Promise<Answer<string>>): Promise<Outcome> {
    refresh()
    const outcome = new Outcome(unwrap(await ends().finally(publish)))
    if (this.#signal !== undefined && this.#aborted !== undefined && (await this.#aborted)) {
      throw this.#signal.reason
    }
    if (outcome.status !== 'asking') {
      this.#signal?.removeEventListener('abort', this.#onAbort)
    }
    return outcome
  }

  /** The run's events from its beginning, and its output from now on, until it has ended or stopped to ask. */
  async *events(): AsyncGenerator<RunEvent, void, void> {
    const events = this.#run.events()
    for (;;) {
      refresh()
      const batch = unwrap(await events.nextBatch(BATCH))
      if (batch.length === 0) {
        return
      }
      for (const event of batch) {
        yield eventFrom(event)
      }
    }
  }

  /** The same as lines for people. */
  async *lines(): AsyncGenerator<string, void, void> {
    const lines = this.#run.lines()
    for (;;) {
      const line = unwrap(await lines.next())
      if (line === null) {
        return
      }
      yield line
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<RunEvent, void, void> {
    return this.events()
  }

  /**
   * Cancels the run: what runs is stopped, the rest is skipped, cleanup steps run, rollouts go back. Resolves when that
   * is recorded; `outcome` says when it is done.
   */
  async cancel(saying: Saying = {}): Promise<void> {
    await this.#send(cancelOf(saying))
  }

  /**
   * Answers a step that stopped and asks; then wait for `outcome` again. Rejects with a `conflict` when it asks nothing,
   * and when the run has ended: start it again with `rerunFailed`.
   */
  async resolve(step: Step | string, answer: StepAnswer, saying: Pick<Saying, 'by'> = {}): Promise<void> {
    await this.#send(resolveOf(step, answer, saying))
  }

  /**
   * Skips what a rollout waits for now: an approval, a bake or analysis before its time, or the readiness of an old
   * version that is sick, never the new version's; also goes on with a paused one. Gates that come later still wait, so
   * that a promotion sent during a bake does not open the approval after it. Rejects with a `conflict` while the rollout
   * waits for none of these, saying what it does instead.
   */
  async promote(step: Step | string, saying: Saying = {}): Promise<void> {
    await this.#send(commandOf('promote', step, saying))
  }

  /** Begins no further move of a rollout until it is resumed. */
  async pause(step: Step | string, saying: Saying = {}): Promise<void> {
    await this.#send(commandOf('pause', step, saying))
  }

  /** Goes on with a paused rollout. */
  async resume(step: Step | string, saying: Saying = {}): Promise<void> {
    await this.#send(commandOf('resume', step, saying))
  }

  /**
   * Takes back a rollout whose version is not promoted yet; it wins over every pause and gate. Rejects with a `conflict`
   * after that: see `revert`.
   */
  async abort(step: Step | string, saying: Saying = {}): Promise<void> {
    await this.#send(commandOf('abort', step, saying))
  }

  /**
   * Takes back a rollout that is under way, also when its version is promoted and the old one is kept: the old one gets
   * all traffic and is the stable one again. Before the promotion it is the same as an abort. After the rollout's end a
   * run with a revert step does it: see `Pipeline.revert`.
   */
  async revert(step: Step | string, saying: Saying = {}): Promise<void> {
    await this.#send(commandOf('revert', step, saying))
  }

  async #send(command: spec.Command): Promise<void> {
    refresh()
    unwrap(await this.#engine.send(this.id, JSON.stringify(command)))
  }
}

/** Who says something if nobody is named. */
export function somebody(): string {
  try {
    return userInfo().username
  } catch (error) {
    // In a container the user may have no name.
    if (error instanceof Error) {
      return `uid ${process.getuid?.() ?? 'unknown'}`
    }
    throw error
  }
}

/** The command that cancels a run. */
export function cancelOf(saying: Saying): spec.Command {
  return { verb: 'cancel', ...said(saying) }
}

/** The command that answers a step's question. */
export function resolveOf(step: Step | string, answer: StepAnswer, saying: Pick<Saying, 'by'>): spec.Command {
  const told: spec.StepAnswer =
    typeof answer === 'string'
      ? { kind: answer }
      : { kind: 'done', value: JSON.parse(encode(answer.done, `the value for ${nameOf(step)}`)) as unknown }
  return { verb: 'resolve', step: nameOf(step), answer: told, by: said(saying).by }
}

/** A command to a rollout. */
export function commandOf(
  verb: 'promote' | 'pause' | 'resume' | 'abort' | 'revert',
  step: Step | string,
  saying: Saying,
): spec.Command {
  return { verb, step: nameOf(step), ...said(saying) }
}

function said(saying: Saying): { by: string; reason: string } {
  return { by: saying.by ?? somebody(), reason: saying.reason ?? '' }
}

function nameOf(step: Step | string): string {
  if (typeof step === 'string' || step instanceof Step) {
    return typeof step === 'string' ? step : step.name
  }
  throw new TidegateError('invalid', `expected a step or its name: ${String(step)}`)
}
