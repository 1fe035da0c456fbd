/** What a journal holds: runs and their events, services, and what a check of it found. */

import { fromCore } from './convert.js'
import { holds, type RunEvent, type RunRow, type Service, type Verified as Told } from './events.js'

/** What a check of the whole journal found. */
export interface Verified extends Told {
  /** Whether nothing is wrong. */
  readonly isSound: boolean
}

/** Runs as the native part hands them over. */
export function runsFrom(text: string): RunRow[] {
  return fromCore<RunRow[]>('RunRow', JSON.parse(text) as object, holds)
}

/** An event as the native part hands it over. */
export function eventFrom(text: string): RunEvent {
  return fromCore<RunEvent>('Fact', JSON.parse(text) as object, holds)
}

/** What a check found as the native part hands it over. */
export function verifiedFrom(text: string): Verified {
  const found = fromCore<Told>('Verified', JSON.parse(text) as object, holds)
  return { ...found, isSound: found.damages.length === 0 }
}

/** A service as the native part hands it over. */
export function serviceFrom(text: string): Service | null {
  const told = JSON.parse(text) as object | null
  return told && fromCore<Service>('Service', told, holds)
}
