import { propertySuite } from '../support/property-suite.ts'

propertySuite({ numRuns: 30, acts: 9, timeoutSeconds: 60 })
