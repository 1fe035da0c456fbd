/** What the core has to say, on a diagnostics channel. While nobody listens, it says nothing. */

import { channel as channelOf } from 'node:diagnostics_channel'
import { native, type NativeLog } from './native.js'

/**
 * What is published to the diagnostics channel `tidegate:log`:
 *
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel'
 *
 * subscribe('tidegate:log', (message) => {
 *   const { level, target, message: text, fields } = message as LogMessage
 *   if (level !== 'debug') logger[level]({ target, ...fields }, text)
 * })
 * ```
 *
 * It is what an operator should know of the engines of this thread (a worker has a channel of its own): runs that start
 * and end (`info`), attempts that fail and rollouts that turn back (`warn`), trouble with the journal (`error`). Who
 * subscribes while a run is awaited hears from the next call of the package on. Lines that are not taken in time, as this
 * thread was busy, are dropped beyond 1,024, and a line says how many.
 */
export interface LogMessage {
  readonly level: 'error' | 'warn' | 'info' | 'debug' | 'trace'
  /** The part of the core: `tidegate.engine`, `tidegate.journal` or `tidegate`. */
  readonly target: string
  /** What happened, in words that are the same every time: `a run ended`. */
  readonly message: string
  /** Of what: `run`, `key`, `step`, `attempt`, `error`, `reason` and the like. */
  readonly fields: Readonly<Record<string, string | number | boolean>>
  /** When. */
  readonly time: Date
}

const channel = channelOf('tidegate:log')
let log: NativeLog | undefined
let listens = false
let publishes = false

/** The log of this thread's engines. */
export function nativeLog(): NativeLog {
  log ??= new native.NativeLog(publish)
  refresh()
  return log
}

/** Tells the core whether anybody listens by now. */
export function refresh(): void {
  if (log !== undefined && listens !== channel.hasSubscribers) {
    listens = channel.hasSubscribers
    log.listen(listens)
  }
}

/** Publishes what was said until now. What a subscriber throws, Node tells the process (`uncaughtException`). */
export function publish(): void {
  // A subscriber may call the package: what comes first is told first.
  if (log === undefined || publishes) {
    return
  }
  publishes = true
  try {
    for (const text of log.take()) {
      const line = JSON.parse(text) as Omit<LogMessage, 'time'> & { time: number }
      channel.publish({ ...line, time: new Date(line.time) } satisfies LogMessage)
    }
  } finally {
    publishes = false
  }
  refresh()
}
