import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { renderApi } from './api-report.ts'
import { ROOT } from './library.ts'

writeFileSync(join(ROOT, 'docs/API.md'), renderApi())
