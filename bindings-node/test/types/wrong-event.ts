// A field is read that events of this kind do not have. The marked line is the one mistake.
import { Engine, type events, Pipeline } from 'tidegate'

const engine = await Engine.open('release.db')
const why: events.StepError[] = []
for await (const event of await engine.start(new Pipeline('p'))) {
  if (event.kind === 'step_finished' && event.result.kind === 'failed') {
    why.push(event.result.value) // MISTAKE: result.value -> result.error
  }
}
export const used = why
