/** Bounds of the shim protocol, apart from its schemas: a shim reads these before it has need of anything else. */
export const shimProtocolVersion = 1;
export const shimFrameBytesMax = 4 * 1024 * 1024;
