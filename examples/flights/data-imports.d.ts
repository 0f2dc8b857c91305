/** Data files of installed packages, as text, bundled into the stage that imports them. */
declare module 'npm:*' {
  const text: string;
  export default text;
}
