/** The engine: it drives runs over one journal. */

import { fileURLToPath } from 'node:url'
import { Calls } from './calls.js'
import { fromCore } from './convert.js'
import { holds, type RunRow, type Service, type ServiceStats } from './events.js'
import { forget, remember } from './exit.js'
import { cancelOnCtrlC } from './interrupt.js'
import { nativeLog, publish, refresh } from './log.js'
import { native, type NativeEngine, unwrap } from './native.js'
import type { Outcome } from './outcome.js'
import type { Pipeline } from './pipeline.js'
import { runsFrom, serviceFrom, type Verified, verifiedFrom } from './records.js'
import { Run, type Saying, somebody } from './run.js'
import { encode } from './values.js'

/** How an engine is opened. */
export interface EngineOptions {
  /**
   * What a recorded event survives: `full` (the default) loss of power, `relaxed` a crash of the process, `memory`
   * nothing.
   */
  readonly durability?: 'full' | 'relaxed' | 'memory'
  /**
   * Secrets for commands' environments, by name; see `secret`. Their values are kept out of all that is written: a
   * definition, a key or params that hold one are refused, a step whose value holds one fails, and output is masked.
   */
  readonly secrets?: Readonly<Record<string, string>>
}

/** How a run is started. */
export interface StartOptions {
  /**
   * The same key of the same pipeline is the same run. One that was cut off goes on; one that ended has its recorded
   * outcome and runs nothing.
   */
  readonly key?: string
  /** What the run is given, as JSON. The same key with other params is an error. */
  readonly params?: unknown
  /**
   * Cancels the run. Aborted before the start, nothing is started; later, the run is cancelled as by `Run.cancel`, and
   * waiting for its outcome rejects with the signal's reason once it has ended.
   */
  readonly signal?: AbortSignal
  /** If the run has ended without success: run again what failed, was skipped or cancelled. Who says so is recorded. */
  readonly rerunFailed?: boolean | { readonly by: string }
}

/** How a run is started and waited for. */
export interface RunOptions extends StartOptions {
  /** Whether Ctrl-C cancels it; see `cancelOnCtrlC`. No by default: signals are the program's own. */
  readonly ctrlC?: boolean
  /** Whether it is shown on standard error meanwhile; see `Run.show`. No by default. */
  readonly show?: boolean
}

/**
 * Drives runs over one journal, which no other process may drive meanwhile. Threads of its own do the work; functions of
 * steps are called on this thread's event loop. An open engine does not keep the process alive, waiting for a run does. A
 * program that ends with it open, also by `process.exit` or an exception, ends what it runs, as `close` does; a signal that
 * nobody handles does not, and what was left is ended when the run is taken up.
 * What an operator should know is published to a diagnostics channel, see `LogMessage`.
 */
export class Engine {
  readonly #native: NativeEngine
  readonly #calls: Calls
  readonly #known: WeakRef<NativeEngine>

  private constructor(engine: NativeEngine, calls: Calls) {
    this.#native = engine
    this.#calls = calls
    this.#known = remember(engine)
  }

  /**
   * Opens the journal at `path`, which is made if it does not exist.
   *
   * @throws TidegateError `busy` when another process drives the journal, `corrupt` when it is damaged.
   */
  static async open(path: string, options: EngineOptions = {}): Promise<Engine> {
    const program = fileURLToPath(new URL('cli.js', import.meta.url))
    const supervisor = [process.execPath, program, 'supervise', '{dir}']
    const calls = new Calls((id, reply) => engine.finish(id, reply))
    const listener = (message: string): void => calls.take(message)
    const log = nativeLog()
    const opened = native.open(path, JSON.stringify({ ...options, supervisor }), listener, log)
    const engine = unwrap(await opened.finally(publish))
    return new Engine(engine, calls)
  }

  /**
   * Starts a run, or takes it up, and resolves as soon as that is recorded.
   *
   * @throws TidegateError `invalid` with every fault of the definition; `conflict` when the key belongs to a run with
   * another definition or other params; the signal's reason when it is aborted already.
   */
  async start(pipeline: Pipeline, options: StartOptions = {}): Promise<Run> {
    const { key, params, signal, rerunFailed } = options
    signal?.throwIfAborted()
    refresh()
    const functions = pipeline.functions()
    const spec = JSON.stringify(pipeline)
    const asked = typeof rerunFailed === 'object' ? rerunFailed.by : rerunFailed === true ? somebody() : null
    const begin = `{"key":${JSON.stringify(key ?? null)},"params":${encode(params, 'params')},"rerun_failed":${JSON.stringify(asked)}}`
    const registry = this.#calls.register(functions)
    const run = unwrap(await this.#native.start(spec, [...functions.keys()], registry, begin))
    return new Run(this.#native, run, signal)
  }

  /** Starts a run, or takes it up, and waits until it has ended or stopped to ask. A failed run is an outcome too. */
  async run(pipeline: Pipeline, options: RunOptions = {}): Promise<Outcome> {
    const run = this.start(pipeline, options)
    // Listening begins before the first step does.
    const stop = options.ctrlC === true ? cancelOnCtrlC(run) : undefined
    try {
      const started = await run
      return await (options.show === true ? started.show() : started.outcome())
    } finally {
      stop?.[Symbol.dispose]()
    }
  }

  /**
   * Cancels a run, by its id, whoever started it; `outcome` of what it resolves to says when it is done.
   *
   * One that no program has taken up, as its own does not come back, is ended without it, from what is recorded: what has
   * not ended is cancelled, rollouts go back, cleanup steps run if they are commands, and are skipped if they are
   * functions. Its program can run again what was cancelled, with `rerunFailed`.
   *
   * @throws TidegateError `not_found` when there is no such run, `conflict` when it has ended.
   */
  async cancel(run: string, saying: Saying = {}): Promise<Run> {
    const { by = somebody(), reason = '' } = saying
    refresh()
    return new Run(this.#native, unwrap(await this.#native.cancel(run, by, reason)))
  }

  /** The latest runs, newest first; 100 of them by default. */
  async runs(options: { readonly limit?: number } = {}): Promise<RunRow[]> {
    return runsFrom(unwrap(await this.#native.runs(options.limit)))
  }

  /** What is known of a service; `null` when nothing is. */
  async service(name: string): Promise<Service | null> {
    return serviceFrom(unwrap(await this.#native.service(name)))
  }

  /**
   * How the instances of a service fare now, and what its proxy has counted: requests, errors and latencies by version.
   *
   * @throws TidegateError `not_found` when nothing of such a service is there.
   */
  async serviceStats(name: string): Promise<ServiceStats> {
    return fromCore('ServiceStats', JSON.parse(unwrap(await this.#native.serviceStats(name))) as object, holds)
  }

  /**
   * Ends all versions of a service and its proxy, and forgets what could be reverted to. Resolves when that is recorded.
   *
   * @throws TidegateError `not_found` when there never was a service of that name, `conflict` while a rollout holds it.
   */
  async removeService(name: string): Promise<void> {
    unwrap(await this.#native.removeService(name))
  }

  /** Checks the whole journal. Damage is a result, not an error. */
  async verify(): Promise<Verified> {
    return verifiedFrom(unwrap(await this.#native.verify()))
  }

  /** Removes the events of a run that has ended; what remains still verifies. */
  async prune(run: string): Promise<void> {
    unwrap(await this.#native.prune(run))
  }

  /**
   * Ends what runs of steps (for which it waits 5 s at most) and records that, leaves runs to be taken up again and
   * services as they are, and closes the journal. A step that was stopped so runs again when its run is taken up, and
   * that counts neither as a failure nor as a crash; one that is to run once asks. A second time does nothing.
   */
  async close(): Promise<void> {
    refresh()
    const closing = this.#native.close()
    forget(this.#known)
    unwrap(await closing.finally(publish))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
