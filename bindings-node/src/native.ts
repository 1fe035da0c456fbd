/** The native part: where it is, and what it looks like from here. Everything crosses as JSON text. */

import { createRequire } from 'node:module'
import { errorFrom, TidegateError } from './errors.js'

/** An error of the core instead of a value. */
export interface NativeFault {
  readonly error: string
}

/** A value, or an error of the core. */
export type Answer<T> = T | NativeFault

/** A run that the engine drives. */
export interface NativeRun {
  readonly id: string
  outcome(): Promise<Answer<string>>
  show(): Promise<Answer<string>>
  events(): NativeEvents
  lines(): NativeLines
}

/** One observer of a run. */
export interface NativeEvents {
  nextBatch(most: number): Promise<Answer<string[]>>
}

/** One reader of a run's lines. */
export interface NativeLines {
  next(): Promise<Answer<string | null>>
}

/** An engine with threads of its own. */
export interface NativeEngine {
  start(
    spec: string,
    functions: string[],
    registry: number,
    options: string,
  ): Promise<Answer<NativeRun>>
  cancel(run: string, by: string, reason: string): Promise<Answer<NativeRun>>
  finish(id: number, reply: string): void
  send(run: string, command: string): Promise<Answer<string>>
  runs(limit?: number): Promise<Answer<string>>
  service(name: string): Promise<Answer<string>>
  serviceStats(name: string): Promise<Answer<string>>
  removeService(name: string): Promise<Answer<string>>
  verify(): Promise<Answer<string>>
  prune(run: string): Promise<Answer<string>>
  close(): Promise<Answer<string>>
  leave(): void
}

/** A journal that is read. */
export interface NativeReader {
  runs(limit?: number): Promise<Answer<string>>
  findRun(pipeline: string, key: string): Promise<Answer<string>>
  services(): Promise<Answer<string>>
  service(name: string): Promise<Answer<string>>
  report(run: string): Promise<Answer<string>>
  verify(): Promise<Answer<string>>
  send(run: string, command: string): Promise<Answer<string>>
  waits(number: number): Promise<Answer<string>>
  follow(run: string, after: number): Promise<Answer<NativeFollow>>
  close(): Promise<Answer<string>>
}

/** A run that is followed. */
export interface NativeFollow {
  look(most: number): Promise<Answer<string[] | null>>
  outcome(): Promise<Answer<string>>
  steps(): Promise<Answer<string>>
}

/** Tells a run as lines for people. */
export interface NativeNarrator {
  lines(event: string): string[]
}

/** A check under watch. */
export interface NativeWatch {
  next(): Promise<Answer<string>>
  finish(id: number, reply: string): void
  stop(): void
}

/** What the engines of this thread say. */
export interface NativeLog {
  listen(listens: boolean): void
  take(): string[]
}

/** Takes a message as JSON text. It must not throw. */
export type Listener = (message: string) => void

interface Native {
  version(): string
  open(path: string, options: string, listener: Listener, log: NativeLog): Promise<Answer<NativeEngine>>
  NativeLog: new (listener: () => void) => NativeLog
  openReader(path: string): Promise<Answer<NativeReader>>
  NativeNarrator: new () => NativeNarrator
  watch(spec: string, name: string, seed: number, listener: Listener): Answer<NativeWatch>
  failure(outcome: string): NativeFault | null
  replayProcess(spec: string, windows: string): Answer<string>
  replayJudge(spec: string, windows: string, sides: string): Promise<Answer<string>>
  replayCheck(spec: string, records: string, begin: string): Answer<string>
  compareMembers(spec: string, members: string): Answer<string>
  mostAside(spec: string, members: string): Answer<string>
  asideFor(spec: string, times: string): Answer<string>
  retryDelays(spec: string): Answer<string>
  commandLine(args: string[]): number
}

/** The value, or the core's error thrown. */
export function unwrap<T>(answer: Answer<T>): T {
  if (typeof answer === 'object' && answer !== null && 'error' in answer) {
    throw errorFrom(answer.error)
  }
  return answer
}

function load(): Native {
  const require = createRequire(import.meta.url)
  const platform = `${process.platform}-${process.arch}`
  const file = `../native/tidegate.${platform}.node`
  try {
    return require(file) as Native
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND'
    throw new TidegateError(
      'unsupported',
      missing
        ? `tidegate was installed without its native part for ${platform}`
        : `tidegate's native part for ${platform} can't be loaded: ${(cause as Error).message}`,
      {
        context: { file: `native/tidegate.${platform}.node` },
        help: missing
          ? 'install a version that is made for this platform (Linux with glibc, or macOS), or build it from source'
          : 'on Linux it needs glibc; see the cause',
        cause,
      },
    )
  }
}

/** The native part of this platform. */
export const native: Native = load()
