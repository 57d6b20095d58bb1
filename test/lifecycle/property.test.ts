import { propertySuite } from '../support/property-suite.ts'

propertySuite({ numRuns: 40, acts: 10, timeoutSeconds: 60 })
