// A rollout is given a step that makes no release. The marked line is the one mistake.
import { canary, Pipeline, type Release } from 'tidegate'

const p = new Pipeline('p')
const build = p.command('build', ['make'])
const release = p.step('package', { after: [build] }, (): Release => ({ version: 'v1', command: ['./shop'] }))
const shop = canary('shop', { steps: [10], bake: '1m', serve: { listen: '127.0.0.1:0', replicas: 1 } })
p.rollout('ship', shop, { release: build }) // MISTAKE: release: build -> release
export const used = release
