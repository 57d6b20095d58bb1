import { propertySuite } from '../support/property-suite.ts'

propertySuite({ numRuns: 20, acts: 9, timeoutSeconds: 60 })
