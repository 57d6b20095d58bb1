import { propertySuite } from '../support/property-suite.ts'

propertySuite({ numRuns: 120, acts: 25, timeoutSeconds: 240 })
