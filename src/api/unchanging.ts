/** The same, of which nothing is changed once it is there. */
export type Unchanging<T> = T extends string | number | boolean | undefined
  ? T
  : T extends readonly (infer E)[]
    ? readonly Unchanging<E>[]
    : T extends object
      ? { readonly [K in keyof T]: Unchanging<T[K]> }
      : T;
