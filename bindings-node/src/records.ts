/** What a journal holds: runs and their events, services, and what a check of it found. */

import { fromCore } from './convert.js'
import { holds, type RunEvent } from './events.js'

/** A run in the journal. */
export interface RunRow {
  /** The run's id. */
  readonly run: string
  /** The pipeline's name. */
  readonly pipeline: string
  /** The run's key. */
  readonly key: string
  /** When it was started. */
  readonly started: Date
  /** Its status for people, such as `running`. */
  readonly status: string
  /** Whether nothing more will happen. */
  readonly finished: boolean
}

/** What is known of a service. */
export interface ServiceState {
  /** The service's name. */
  readonly name: string
  /** The version that counts as good; `null` before the first release. */
  readonly stable: string | null
  /** Versions that were stable before and can be reverted to, the latest first. */
  readonly kept: readonly string[]
  /** Processes by version, as last asked for. */
  readonly sizes: Readonly<Record<string, number>>
  /** Percent of the traffic by version, as last asked for. */
  readonly weights: Readonly<Record<string, number>>
  /** The rollout that holds the service. */
  readonly claim: { readonly run: string; readonly step: string; readonly version: string } | null
  /** What was lost of the world and has not been seen whole since. */
  readonly lost: string | null
  /** How the last rollout ended: the version, the outcome and the reason. */
  readonly last: readonly [version: string, outcome: string, reason: string] | null
}

/** What a check of the whole journal found. */
export interface Verified {
  /** Streams that were checked. */
  readonly streams: number
  /** Events that were checked. */
  readonly events: number
  /** Commits that were checked. */
  readonly commits: number
  /** What is wrong; empty when nothing is. */
  readonly damages: readonly {
    readonly kind: string
    readonly stream: string | null
    readonly seq: number | null
    readonly detail: string
  }[]
  /** How much more is wrong than is listed. */
  readonly unlisted: number
  /** Whether nothing is wrong. */
  readonly isSound: boolean
}

/** Runs as the native part hands them over. */
export function runsFrom(text: string): RunRow[] {
  const rows = JSON.parse(text) as {
    stream: string
    index: { pipeline: string; key: string; started: number; status: string; finished: boolean }
  }[]
  return rows.map(({ stream, index }) => ({
    run: stream.replace(/^run\//, ''),
    ...index,
    started: new Date(index.started),
  }))
}

/** An event as the native part hands it over. */
export function eventFrom(text: string): RunEvent {
  return fromCore<RunEvent>('Fact', JSON.parse(text) as object, holds)
}

/** What a check found as the native part hands it over. */
export function verifiedFrom(text: string): Verified {
  const found = JSON.parse(text) as Omit<Verified, 'isSound'>
  return { ...found, isSound: found.damages.length === 0 }
}

/** A service as the native part hands it over. */
export function serviceFrom(text: string): ServiceState | null {
  const told = JSON.parse(text) as object | null
  if (told === null) {
    return null
  }
  const state = fromCore<ServiceState>('ServiceState', told, {})
  // The core counts in hundredths of a percent.
  const shares = Object.entries(state.weights).map(([version, share]) => [version, share / 100])
  return { ...state, weights: Object.fromEntries(shares) as Record<string, number> }
}
