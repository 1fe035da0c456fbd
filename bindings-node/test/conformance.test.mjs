// The conformance cases that all languages share (`tests/conformance`), through the API that a Node user writes.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pipeline } from '../dist/index.js'
import { engine } from './help.mjs'

/** The cases of a file. */
function cases(file) {
  const found = JSON.parse(readFileSync(join(import.meta.dirname, '../../tests/conformance', file), 'utf8'))
  assert.ok(found.length > 0)
  return found
}

/** What a scripted function does, as the case says. */
async function play(script, context, inputs) {
  if (script.sleeps_ms !== undefined) {
    await sleep(script.sleeps_ms)
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
    case 'length':
      return inputs[0].length
    case 'text':
      return 'x'.repeat(script.length)
    default:
      throw new assert.AssertionError({ message: `unknown script: ${script.gives}` })
  }
}

/** What the case gives a step, as the package's methods take it. */
function options(step) {
  const { after, retry, timeout, cleanup, allow_failure: allowFailure, once } = step
  return { after, retry, timeout, cleanup, allowFailure, once }
}

/** The case's pipeline. */
function build(case_) {
  const { max_parallel: maxParallel, fail_fast: failFast } = case_
  const pipeline = new Pipeline(case_.pipeline ?? 'p', { maxParallel, failFast })
  const steps = new Map()
  for (const step of case_.steps) {
    const { name, output, shell, command, inputs = [] } = step
    const given = options(step)
    if (shell !== undefined) {
      steps.set(name, pipeline.shell(name, shell, { ...given, output }))
    } else if (command !== undefined) {
      steps.set(name, pipeline.command(name, command, { ...given, output }))
    } else {
      const values = inputs.map((input) => steps.get(input))
      steps.set(name, pipeline.step(name, { ...given, inputs: values }, (context, ...given) => play(step, context, given)))
    }
  }
  return pipeline
}

for (const case_ of cases('runs.json')) {
  test(case_.case, async (t) => {
    const { engine: e } = await engine(t)
    const outcome = await e.run(build(case_), { params: case_.params })
    assert.equal(outcome.status, case_.status, JSON.stringify(outcome))
    assert.deepEqual(Object.keys(outcome.steps).sort(), Object.keys(case_.expect).sort())
    for (const [step, { last_lines: lastLines, ...fields }] of Object.entries(case_.expect)) {
      const wanted = lastLines === undefined ? fields : { ...fields, lastLines }
      for (const [field, value] of Object.entries(wanted)) {
        assert.deepEqual(outcome.steps[step][field] ?? null, value, `${field} of ${step}`)
      }
    }
  })
}

for (const case_ of cases('faults.json')) {
  test(case_.case, async (t) => {
    const { engine: e } = await engine(t)
    await assert.rejects(e.run(build(case_), { params: case_.params }), (error) => {
      assert.equal(error.kind, 'invalid')
      assert.deepEqual(error.faults.map(({ pointer, message }) => [pointer, message]), case_.faults)
      return true
    })
    assert.deepEqual(await e.runs(), [])
  })
}
