/** Ctrl-C, for programs that want it: nothing here listens to a signal unless it is asked to. */

import type { Run } from './run.js'

/** The exit code of a program that SIGINT ended. */
const INTERRUPTED = 130

/**
 * The first Ctrl-C cancels the run: cleanup steps run, rollouts go back. The second ends the program at once, with code
 * 130, and leaves the run to be taken up under its key. Dispose of what it returns to listen no more; `Engine.run` with
 * `ctrlC: true` does all of that. A run that is still being started is cancelled once it has started.
 */
export function cancelOnCtrlC(run: Run | Promise<Run>): Disposable {
  let times = 0
  const listener = (): void => {
    times += 1
    if (times > 1) {
      process.exit(INTERRUPTED)
    }
    // One that has ended can't be cancelled; whoever started it or waits for its outcome is told all else.
    Promise.resolve(run)
      .then((run) => run.cancel({ reason: 'Ctrl-C' }))
      .catch(() => undefined)
  }
  process.on('SIGINT', listener)
  return { [Symbol.dispose]: () => process.off('SIGINT', listener) }
}
