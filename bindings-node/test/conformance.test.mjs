// The conformance cases that all languages share (`tests/conformance`), through the API that a Node user writes.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { Engine, Pipeline } from '../dist/index.js'
import { all, folder, within } from './help.mjs'

/** The cases of a file. */
function cases(file) {
  const found = JSON.parse(readFileSync(join(import.meta.dirname, '../../tests/conformance', file), 'utf8'))
  assert.ok(found.length > 0)
  return found
}

/** What a scripted function does, as the case says. */
function play(script, calls, context, inputs) {
  calls[context.step] = (calls[context.step] ?? 0) + 1
  if (script.waits) {
    return new Promise((_, reject) => {
      context.signal.addEventListener('abort', () => reject(new Error('asked to stop')))
    })
  }
  if (script.raises !== undefined && context.attempt < (script.raise_until_attempt ?? Infinity)) {
    throw new Error(script.raises)
  }
  switch (script.gives) {
    case undefined:
      return script.returns
    case 'inputs':
      return inputs
    case 'params':
      return context.params
    case 'attempt':
      return context.attempt
    case 'length':
      return inputs[0].length
    case 'text':
      return 'x'.repeat(script.length)
    case 'nested':
      return Array.from({ length: script.levels }).reduce((inner) => [inner], 1)
    case 'nan':
      return NaN
    case 'infinity':
      return Infinity
    case 'minus infinity':
      return -Infinity
    case 'minus zero':
      return -0
    default:
      return assert.fail(`unknown script: ${script.gives}`)
  }
}

/** What the case gives a step, as the package's methods take it. */
function options(step) {
  const { after, retry, timeout, deadline, cleanup, allow_failure: allowFailure, once } = step
  return { after, retry, timeout, deadline, cleanup, allowFailure, once }
}

/** The case's pipeline. */
function build(scene, calls) {
  const { max_parallel: maxParallel, fail_fast: failFast, scripts = {} } = scene
  const pipeline = new Pipeline(scene.pipeline ?? 'p', { maxParallel, failFast })
  const steps = new Map()
  for (const step of scene.steps) {
    const { name, output, shell, command, inputs = [] } = step
    const given = options(step)
    if (shell !== undefined) {
      steps.set(name, pipeline.shell(name, shell, { ...given, output }))
    } else if (command !== undefined) {
      steps.set(name, pipeline.command(name, command, { ...given, output }))
    } else {
      const taken = inputs.map((input) => steps.get(input))
      const call = (context, ...values) => play(scripts[name] ?? step, calls, context, values)
      steps.set(name, pipeline.step(name, { ...given, inputs: taken }, call))
    }
  }
  return pipeline
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Whether values are equal in every language: to JSON there is one zero. */
function same(found, wanted) {
  try {
    assert.deepEqual(found === -0 ? 0 : (found ?? null), wanted)
    return true
  } catch {
    return false
  }
}

/**
 * Whether something is as wanted: an object has at least these fields, one with `_says` contains that text; the value
 * of a step is exactly that.
 */
function holds(found, wanted) {
  if (isObject(found) && isObject(wanted)) {
    return Object.entries(wanted).every(([name, value]) => {
      if (name.endsWith('_says')) {
        const text = found[name.slice(0, -'_says'.length)]
        return typeof text === 'string' && text.includes(value)
      }
      const field = found[name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase())]
      return name === 'value' ? same(field, value) : holds(field, value)
    })
  }
  if (Array.isArray(found) && Array.isArray(wanted)) {
    return found.length === wanted.length && found.every((item, i) => holds(item, wanted[i]))
  }
  return same(found, wanted)
}

/** An event; how long a retry waits is told as `waitMs`. */
function told(event) {
  return event.kind === 'step_retrying' ? { ...event, waitMs: event.nextAttemptAt - event.at } : event
}

/** Waits for an event. */
async function seen(run, wanted) {
  for await (const event of run) {
    if (holds(told(event), wanted)) {
      return
    }
  }
  assert.fail(`never seen: ${JSON.stringify(wanted)}`)
}

/** Runs the case's pipeline, does what the case asks for meanwhile, and waits for the outcome. */
async function drive(scene, calls, engine) {
  const { key, params, rerun_failed: by } = scene
  const rerunFailed = by === undefined ? undefined : { by }
  const run = await engine.start(build(scene, calls), { key, params, rerunFailed })
  if (scene.cancel_at !== undefined) {
    await within(seen(run, scene.cancel_at), 'the event to cancel at')
    await run.cancel({ by: 'ann', reason: 'enough' })
  }
  if (scene.close_at !== undefined) {
    await within(seen(run, scene.close_at), 'the event to close at')
    await engine.close()
  }
  for (const { step, answer, value, asks } of scene.resolve ?? []) {
    const asking = await within(run.outcome(), 'the question')
    assert.equal(asking.status, 'asking')
    assert.ok(holds(asking.steps[step], asks), JSON.stringify(asking))
    await run.resolve(step, answer === 'done' ? { done: value } : answer, { by: 'ann' })
  }
  const outcome = await within(run.outcome(), 'the outcome')
  if (scene.events !== undefined) {
    const found = (await all(run)).filter((event) => 'seq' in event).map(told)
    assert.ok(holds(found, scene.events), JSON.stringify(found, null, 1))
  }
  if (scene.lines !== undefined) {
    const found = []
    for await (const line of run.lines()) {
      found.push(line)
    }
    assert.deepEqual(scene.lines.filter((line) => !found.includes(line)), [], found.join('\n'))
  }
  if (scene.resolve_after !== undefined) {
    const { step, answer, value } = scene.resolve_after
    await run.resolve(step, answer === 'done' ? { done: value } : answer, { by: 'ann' })
  }
  return outcome
}

/** One run of a case, by an engine of its own. */
async function checkRun(scene, calls, path) {
  const engine = await Engine.open(path)
  try {
    if (scene.faults !== undefined) {
      await assert.rejects(drive(scene, calls, engine), (error) => {
        assert.equal(error.kind, 'invalid')
        assert.deepEqual(error.faults.map(({ pointer, message }) => [pointer, message]), scene.faults)
        return true
      })
      assert.deepEqual(await engine.runs(), [])
    } else if (scene.error !== undefined) {
      await assert.rejects(drive(scene, calls, engine), (error) => {
        const { kind, message } = error
        assert.ok(holds({ kind, message }, scene.error), error.stack)
        return true
      })
    } else {
      const outcome = await drive(scene, calls, engine)
      assert.equal(outcome.status, scene.status, JSON.stringify(outcome))
      assert.deepEqual(Object.keys(outcome.steps).sort(), Object.keys(scene.expect).sort())
      for (const [step, wanted] of Object.entries(scene.expect)) {
        assert.ok(holds(outcome.steps[step], wanted), `${step}: ${JSON.stringify(outcome)}`)
      }
    }
  } finally {
    await engine.close()
  }
}

for (const file of ['runs.json', 'faults.json', 'sequences.json', 'graphs.json']) {
  for (const { runs = [{}], ...whole } of cases(file)) {
    test(whole.case, async (t) => {
      const path = join(folder(t), 'journal.db')
      const calls = {}
      // Over one journal: each run has the case's fields, but for those that it says itself.
      for (const run of runs) {
        await checkRun({ ...whole, ...run }, calls, path)
      }
      if (whole.calls !== undefined) {
        assert.deepEqual(calls, whole.calls)
      }
    })
  }
}
