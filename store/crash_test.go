package store

const childVar = "MILTERD_STORE_CHILD"

func child() int { return 1 }
