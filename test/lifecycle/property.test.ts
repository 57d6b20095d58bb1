import { propertySuite } from '../support/property-suite.ts'

propertySuite({ numRuns: 10, acts: 9, timeoutSeconds: 60 })
