import { killSuite } from '../support/kill-suite.ts'

killSuite(29, 60)
