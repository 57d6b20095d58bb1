import { propertySuite } from '../support/property-suite.ts'

propertySuite({ numRuns: 15, acts: 9, timeoutSeconds: 60 })
