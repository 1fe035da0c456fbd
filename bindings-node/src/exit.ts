/**
 * Programs that end with an engine open. Node cleans up after a program that comes to its end, but neither after one that
 * calls `process.exit` nor after one that throws: what engines run would be left running.
 */

import type { NativeEngine } from './native.js'

/** The engines of this thread that are open and that somebody still has. */
const open = new Set<WeakRef<NativeEngine>>()
const forgotten = new FinalizationRegistry<WeakRef<NativeEngine>>(forget)

/** Remembers an engine until it is closed. While there is one, this thread has a listener for `exit`, and no other. */
export function remember(engine: NativeEngine): WeakRef<NativeEngine> {
  const known = new WeakRef(engine)
  if (open.size === 0) {
    process.on('exit', leave)
  }
  open.add(known)
  forgotten.register(engine, known)
  return known
}

/** Forgets one that is closed. */
export function forget(known: WeakRef<NativeEngine>): void {
  open.delete(known)
  if (open.size === 0) {
    process.off('exit', leave)
  }
}

function leave(): void {
  for (const known of open) {
    known.deref()?.leave()
  }
}
