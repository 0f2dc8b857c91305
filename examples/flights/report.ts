import { defineStage } from 'podline';
import { barChart, heatMap, page, statTiles, tableOf } from './report-page.js';

interface Cell {
  airport: string;
  state: string;
  month: number;
  hour: number;
  flights: number;
  late: number;
  delayMinutes: number;
}

interface Group {
  name: string;
  flights: number;
  late: number;
  delayMinutes: number;
}

const monthNames = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const airportsShown = 15;
/** Share of all flights below which an hour or a month is not drawn. */
const fewShare = 1 / 3000;
/** Minutes at which the tones of the map change. */
const delaySteps = [0, 5, 10, 15, 20, 40] as const;

function groupBy(cells: readonly Cell[], nameOf: (cell: Cell) => string): Group[] {
  const groups = new Map<string, Group>();
  for (const cell of cells) {
    const name = nameOf(cell);
    const group = groups.get(name) ?? { name, flights: 0, late: 0, delayMinutes: 0 };
    group.flights += cell.flights;
    group.late += cell.late;
    group.delayMinutes += cell.delayMinutes;
    groups.set(name, group);
  }
  return [...groups.values()];
}

const meanDelay = (group: Group): number => (group.flights === 0 ? 0 : group.delayMinutes / group.flights);
const lateShare = (group: Group): number => (group.flights === 0 ? 0 : group.late / group.flights);
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
const minutes = (value: number): string => `${value.toFixed(1)} min`;
const short = (value: number): string => String(Math.round(value * 10) / 10);
const count = (value: number): string => value.toLocaleString('en-US');

export default defineStage({
  parameters: { lateAfterMinutes: 'number' },
  files(inputs, ctx) {
    const cells = inputs.only().toRows() as unknown as Cell[];
    const [all] = groupBy(cells, () => 'all');
    if (all === undefined) return { 'report.html': page('No flights', 'The input held no flight with all its values.', []) };

    const byHour = groupBy(cells, (cell) => String(cell.hour)).sort((a, b) => Number(a.name) - Number(b.name));
    const byMonth = groupBy(cells, (cell) => String(cell.month)).sort((a, b) => Number(a.name) - Number(b.name));
    const byAirport = groupBy(cells, (cell) => cell.airport).sort((a, b) => b.flights - a.flights || (a.name < b.name ? -1 : 1));
    const busiest = byAirport.slice(0, airportsShown);
    const stateOf = new Map(cells.map((cell) => [cell.airport, cell.state]));
    const busy = new Set(busiest.map((group) => group.name));
    const grid = new Map(
      groupBy(
        cells.filter((cell) => busy.has(cell.airport)),
        (cell) => `${cell.airport} ${String(cell.hour)}`,
      ).map((group) => [group.name, group]),
    );
    const lateAfter = String(ctx.parameters.lateAfterMinutes);

    // A mean of a handful of flights says nothing, and would set the scale of a picture.
    const fewFlights = Math.ceil(all.flights * fewShare);
    const isMany = (group: Group): boolean => group.flights >= fewFlights;
    const leftOut = (groups: readonly Group[], nameOf: (group: Group) => string): string | undefined => {
      const few = groups.filter((group) => !isMany(group));
      return few.length === 0
        ? undefined
        : `Not drawn, with fewer than ${count(fewFlights)} flights: ${few.map((group) => `${nameOf(group)} (${count(group.flights)})`).join(', ')}.`;
    };
    const monthOf = (group: Group): string => monthNames[Number(group.name) - 1] ?? group.name;
    const worstHour = byHour.filter(isMany).reduce((worst, group) => (meanDelay(group) > meanDelay(worst) ? group : worst));
    const fewInCell = Math.ceil(fewFlights / 10);

    const html = page(
      'US flights, by airport, month and hour',
      `${count(all.flights)} flights. Late means more than ${lateAfter} minutes after schedule.`,
      [
        statTiles([
          ['Flights', count(all.flights)],
          ['Airports', count(byAirport.length)],
          ['Mean delay', minutes(meanDelay(all))],
          ['Late', percent(lateShare(all))],
          [`Worst hour, from ${worstHour.name.padStart(2, '0')}:00`, minutes(meanDelay(worstHour))],
        ]),
        barChart({
          title: 'Mean delay by hour of departure',
          axes: { x: 'hour of departure, local time', y: 'mean delay in minutes' },
          bars: byHour.filter(isMany).map((group) => ({ label: group.name, value: meanDelay(group) })),
          format: short,
          note: leftOut(byHour, (group) => `${group.name}:00`),
        }),
        barChart({
          title: 'Share of late flights by month',
          axes: { x: 'month', y: 'late flights of all' },
          bars: byMonth.filter(isMany).map((group) => ({ label: monthOf(group), value: lateShare(group) })),
          format: percent,
          note: leftOut(byMonth, monthOf),
        }),
        heatMap({
          title: `Mean delay of the ${String(busiest.length)} busiest airports, hour by hour`,
          axes: { x: 'hour of departure, local time', y: 'airport' },
          rows: busiest.map((group) => group.name),
          columns: Array.from({ length: 24 }, (_, hour) => String(hour)),
          valueOf: (airport, hour) => {
            const group = grid.get(`${airport} ${hour}`);
            return group === undefined || group.flights < fewInCell ? undefined : meanDelay(group);
          },
          steps: delaySteps,
          format: (value) => `${short(value)} min`,
          note: `Empty: fewer than ${count(fewInCell)} flights.`,
        }),
        tableOf(
          'The busiest airports',
          ['Airport', 'State', 'Flights', 'Mean delay', 'Late'],
          busiest.map((group) => [
            group.name,
            stateOf.get(group.name) ?? '',
            count(group.flights),
            minutes(meanDelay(group)),
            percent(lateShare(group)),
          ]),
        ),
      ],
    );
    const numbers = { lateAfterMinutes: ctx.parameters.lateAfterMinutes, all, byHour, byMonth, byAirport };
    return { 'report.html': html, 'report.json': `${JSON.stringify(numbers, undefined, 2)}\n` };
  },
});
