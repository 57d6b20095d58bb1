import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { LifecyclePolicy } from '../../src/policy/lifecycle.ts'
import { compileLifecycle } from '../../src/policy/lifecycle.ts'

const file = path.resolve(import.meta.dirname, '../../policies/lifecycle.yaml')

/** The policy as shipped. */
export const policyForTests: LifecyclePolicy = compileLifecycle(readFileSync(file, 'utf8'), file)
