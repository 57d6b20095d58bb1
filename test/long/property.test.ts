import { propertySuite } from '../support/property-suite.ts'

propertySuite({ numRuns: 60, acts: 25, timeoutSeconds: 240 })
