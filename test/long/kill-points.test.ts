import { killSuite } from '../support/kill-suite.ts'

killSuite(1, 120)
