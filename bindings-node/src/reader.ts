/** A journal as another process sees it: it is read while it is driven, and commands go to who drives it. */

import { setTimeout as sleep } from 'node:timers/promises'
import { fromCore } from './convert.js'
import type { Fact, RunRow, Service } from './events.js'
import { native, type NativeFollow, type NativeReader, unwrap } from './native.js'
import { Outcome, type StepOutcome } from './outcome.js'
import { eventFrom, runsFrom, serviceFrom, type Verified, verifiedFrom } from './records.js'
import { cancelOf, commandOf, resolveOf, type Saying, type StepAnswer } from './run.js'
import type * as spec from './spec.js'
import type { Step } from './step.js'

/** How many events are taken at a time. */
const BATCH = 256
/** How many milliseconds until it is looked again for events. */
const LOOK_AGAIN = 100

/** How a run is followed. */
export interface FollowOptions {
  /** Ends the waiting: the loop rejects with the signal's reason. The run goes on. */
  readonly signal?: AbortSignal
  /** Whether to wait for what is still to come; by default yes, until the run has ended or stopped to ask. */
  readonly follow?: boolean
}

/**
 * Reads a journal that another process may drive, and sends commands to who drives it. It takes no lock and changes
 * nothing but the inbox, and it opens what an engine refuses as damaged, so that `verify` can tell what is wrong. Runs
 * are named by their id.
 *
 * Commands go into the inbox: they are recorded when the promise resolves, and take effect within 200 ms while the run's
 * program runs, else when it runs again. Each resolves to the command's number, see `waits`. One that is refused then is
 * the event `command_refused` of the run. They reject with `not_found` when there is no such run, and with `conflict`
 * when it has ended.
 */
export class Reader {
  readonly #native: NativeReader

  private constructor(reader: NativeReader) {
    this.#native = reader
  }

  /**
   * Opens the journal at `path`.
   *
   * @throws TidegateError `not_found` when there is none, `invalid` when the file is something else, `corrupt` when its
   * tables are damaged.
   */
  static async open(path: string): Promise<Reader> {
    return new Reader(unwrap(await native.openReader(path)))
  }

  /** The latest runs, newest first; 100 of them by default. */
  async runs(options: { readonly limit?: number } = {}): Promise<RunRow[]> {
    return runsFrom(unwrap(await this.#native.runs(options.limit)))
  }

  /** The id of the run of a pipeline with a key; `null` when there is none. */
  async findRun(pipeline: string, key: string): Promise<string | null> {
    return JSON.parse(unwrap(await this.#native.findRun(pipeline, key))) as string | null
  }

  /** Waits until a run has ended or stopped to ask. */
  async outcome(run: string, options: { readonly signal?: AbortSignal } = {}): Promise<Outcome> {
    const follow = unwrap(await this.#native.follow(run, 0))
    for await (const _ of texts(follow, options)) {
      // Only the end counts.
    }
    return new Outcome(unwrap(await follow.outcome()))
  }

  /** Where every step of a run stands now, by name. */
  async steps(run: string): Promise<Record<string, StepOutcome>> {
    const follow = unwrap(await this.#native.follow(run, 0))
    for await (const _ of texts(follow, { follow: false })) {
      // Only where it stands counts.
    }
    const steps = JSON.parse(unwrap(await follow.steps())) as Record<string, object>
    const read = ([name, step]: [string, object]): [string, StepOutcome] => [name, fromCore('StepOutcome', step)]
    return Object.fromEntries(Object.entries(steps).map(read))
  }

  /**
   * A run's recorded events whose `seq` is greater than `after` (all by default), as they become durable, until it has
   * ended or stopped to ask. Lines of output are not recorded, and so not here.
   */
  async *events(run: string, options: FollowOptions & { readonly after?: number } = {}): AsyncGenerator<Fact, void, void> {
    for await (const text of texts(unwrap(await this.#native.follow(run, options.after ?? 0)), options)) {
      yield eventFrom(text) as Fact
    }
  }

  /** The same as lines for people, from the run's beginning. */
  async *lines(run: string, options: FollowOptions = {}): AsyncGenerator<string, void, void> {
    const narrator = new native.NativeNarrator()
    for await (const text of texts(unwrap(await this.#native.follow(run, 0)), options)) {
      yield* narrator.lines(text)
    }
  }

  /** The names of all services. */
  async services(): Promise<string[]> {
    return JSON.parse(unwrap(await this.#native.services())) as string[]
  }

  /** What is known of a service; `null` when nothing is. */
  async service(name: string): Promise<Service | null> {
    return serviceFrom(unwrap(await this.#native.service(name)))
  }

  /** Checks the whole journal. Damage is a result, not an error. */
  async verify(): Promise<Verified> {
    return verifiedFrom(unwrap(await this.#native.verify()))
  }

  /**
   * The page of a run as HTML: one text that needs no file beside it. It has the graph, when each step ran, each
   * rollout's weights, traffic, errors, latencies and evidence, and the ends of the logs: 64 kB of each, 4 MB in all.
   */
  async report(run: string): Promise<string> {
    return unwrap(await this.#native.report(run))
  }

  /** Cancels a run; see `Run.cancel`. */
  async cancel(run: string, saying: Saying = {}): Promise<number> {
    return this.#send(run, cancelOf(saying))
  }

  /** Answers a step that stopped and asks; see `Run.resolve`. */
  async resolve(run: string, step: Step | string, answer: StepAnswer, saying: Pick<Saying, 'by'> = {}): Promise<number> {
    return this.#send(run, resolveOf(step, answer, saying))
  }

  /** Skips what a rollout waits for now; see `Run.promote`. */
  async promote(run: string, step: Step | string, saying: Saying = {}): Promise<number> {
    return this.#send(run, commandOf('promote', step, saying))
  }

  /** Begins no further move of a rollout until it is resumed. */
  async pause(run: string, step: Step | string, saying: Saying = {}): Promise<number> {
    return this.#send(run, commandOf('pause', step, saying))
  }

  /** Goes on with a paused rollout. */
  async resume(run: string, step: Step | string, saying: Saying = {}): Promise<number> {
    return this.#send(run, commandOf('resume', step, saying))
  }

  /** Takes back a rollout whose version is not promoted yet; see `Run.abort`. */
  async abort(run: string, step: Step | string, saying: Saying = {}): Promise<number> {
    return this.#send(run, commandOf('abort', step, saying))
  }

  /** Takes back a rollout that is under way, promoted or not; see `Run.revert`. */
  async revert(run: string, step: Step | string, saying: Saying = {}): Promise<number> {
    return this.#send(run, commandOf('revert', step, saying))
  }

  /** Whether a command still waits for the run's program. */
  async waits(number: number): Promise<boolean> {
    return JSON.parse(unwrap(await this.#native.waits(number))) as boolean
  }

  /** Closes it; what still waits rejects as `cancelled`. A second time does nothing. */
  async close(): Promise<void> {
    unwrap(await this.#native.close())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #send(run: string, command: spec.Command): Promise<number> {
    return JSON.parse(unwrap(await this.#native.send(run, JSON.stringify(command)))) as number
  }
}

async function* texts(run: NativeFollow, options: FollowOptions): AsyncGenerator<string, void, void> {
  const { signal, follow = true } = options
  for (;;) {
    signal?.throwIfAborted()
    const batch = unwrap(await run.look(BATCH))
    if (batch === null && follow) {
      // Woken by the signal, it says so above, with the signal's own reason.
      await sleep(LOOK_AGAIN, undefined, signal === undefined ? {} : { signal }).catch(() => undefined)
      continue
    }
    if (batch === null || batch.length === 0) {
      return
    }
    yield* batch
  }
}
