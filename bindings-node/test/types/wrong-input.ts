// A step is given the value of a step of another type. The marked line is the one mistake.
import { Pipeline } from 'tidegate'

const p = new Pipeline('p')
const number = p.step('size', () => 3)
const text = p.step('name', () => 'shop')
export const loud = p.step('shout', { inputs: [number] as const }, (_, word: string) => word.toUpperCase()) // MISTAKE: [number] -> [text]
export const used = [number, text]
