import { openPostgresJournal } from '../../../runtime/journal/postgres/postgres-journal.js';
import { journalContract } from '../../contract/journal.js';
import { testDatabase } from '../../support/postgres.js';
import { needs } from '../../support/require.js';

const database = testDatabase();

needs('postgres').describe('PostgreSQL', () => {
  journalContract('the PostgreSQL journal', () => {
    const url = database.url();
    return {
      open: async (options = {}) => {
        const journal = await openPostgresJournal({ url: await url, ...options });
        await journal.takeTerm();
        return journal;
      },
    };
  });
});
