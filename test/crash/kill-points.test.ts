import { killSuite } from '../support/kill-suite.ts'

killSuite(13, 60)
