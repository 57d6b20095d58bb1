import { shadowLaw } from '../support/shadow-law.ts'

shadowLaw([1])
