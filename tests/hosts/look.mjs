// What an engine leaves in its host: prints the host's threads, files and what else is its own before an engine was
// opened, while it works, and after it was closed. `look.mjs JOURNAL RUNS`.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** How long threads that have done all they had to may take to be gone, in milliseconds. */
const END_WITHIN = 2000

/** What the open files are, less the folder that is read for it. */
function files() {
  const found = []
  for (const file of readdirSync('/proc/self/fd')) {
    try {
      found.push(readlinkSync(`/proc/self/fd/${file}`))
    } catch {
      continue
    }
  }
  return found
}

/** The signals that are caught, without the C library's own two. */
function caught(mask) {
  return (BigInt(`0x${mask}`) & ~((1n << 31n) | (1n << 32n))).toString(16)
}

function look() {
  const status = readFileSync('/proc/self/status', 'utf8')
  const field = (name) => status.match(new RegExp(`^${name}:\\s*(\\S+)`, 'm'))[1]
  // While an engine is open there is one for `exit`, which says when to close it.
  const names = process.eventNames().filter((name) => name !== 'exit')
  const listeners = names.map((name) => `${String(name)}: ${process.listenerCount(name)}`)
  return {
    threads: Number(field('Threads')),
    files: files(),
    rss: Number(field('VmRSS')),
    host: {
      signals: `${caught(field('SigCgt'))} ${field('SigIgn')} ${field('SigBlk')}`,
      'working directory': process.cwd(),
      environment: { ...process.env },
      umask: field('Umask'),
      listeners,
      'hook for exceptions': process.hasUncaughtExceptionCaptureCallback(),
      logger: Object.values(console).every((method) => typeof method !== 'function' || !/tidegate/.test(String(method))),
      globals: Object.getOwnPropertyNames(globalThis).length,
      title: process.title,
    },
  }
}

/** The last look, once it shows no more threads than the first, or when the time is up. */
async function lastLook(before) {
  const begun = Date.now()
  for (;;) {
    const now = look()
    if (now.threads <= before.threads || Date.now() - begun > END_WITHIN) {
      return now
    }
    await sleep(5)
  }
}

const [, , journal, count] = process.argv
const runs = Number(count)
await sleep(50)
const before = look()
const exitsBefore = process.listenerCount('exit')
const { Engine, Pipeline } = await import('../../bindings-node/dist/index.js')
const pipeline = new Pipeline('guest')
const hello = pipeline.shell('hello', 'echo hello', { output: 'text' })
pipeline.step('length', { inputs: [hello] }, (_, text) => text.length)
const working = []
const kept = []
const engine = await Engine.open(journal)
for (let run = 0; run < runs; run += 1) {
  const started = await engine.start(pipeline)
  const outcome = await started.outcome()
  outcome.ok()
  if ([0, Math.floor(runs / 2), runs - 1].includes(run)) {
    working.push(look())
    // What is held on to holds nothing of the system's.
    kept.push(started)
  }
}
await engine.close()
const exits = process.listenerCount('exit') - exitsBefore
const after = await lastLook(before)
console.log(JSON.stringify({ before, working, after, own: { 'listeners for exit': exits } }))
