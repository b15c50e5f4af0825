//! Pure: results in one register. A function that is not inlined must not return more: the compiler would have it
//! write through a pointer and leave anything in the return register, even an address of the stack, which the
//! verifier refuses.

use core::marker::PhantomData;

use causeway_abi::{Counted, DropReason};

use crate::walk::Next;

/// An enum whose variants are numbers below [`ERROR`].
pub trait Numbered: Copy {
    /// Its number.
    fn number(self) -> u32;
    /// The variant of a number.
    ///
    /// # Safety
    /// The number must come from [`Numbered::number`] of this type.
    unsafe fn of_number(number: u32) -> Self;
}

macro_rules! numbered {
    ($($name:ty),*) => {
        $(
            impl Numbered for $name {
                #[inline(always)]
                fn number(self) -> u32 {
                    self as u32
                }

                #[inline(always)]
                unsafe fn of_number(number: u32) -> Self {
                    // SAFETY: `repr(u32)`, and the number is a variant's by contract.
                    unsafe { core::mem::transmute::<u32, Self>(number) }
                }
            }
        )*
    };
}

numbered!(Next, Counted, DropReason);

/// Marks the number of a reason.
const ERROR: u32 = 1 << 31;

/// A result as a number.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Outcome<T>(u32, PhantomData<T>);

impl<T: Numbered> Outcome<T> {
    /// Folds a result.
    #[inline(always)]
    #[must_use]
    pub fn of(result: Result<T, DropReason>) -> Self {
        let number = match result {
            Ok(value) => value.number(),
            Err(reason) => reason.number() | ERROR,
        };
        Self(number, PhantomData)
    }

    /// Unfolds it.
    #[inline(always)]
    pub fn result(self) -> Result<T, DropReason> {
        // SAFETY: the number was made from a value of the type that is taken out here.
        unsafe {
            if self.0 & ERROR == 0 {
                Ok(T::of_number(self.0))
            } else {
                Err(DropReason::of_number(self.0 & !ERROR))
            }
        }
    }
}

/// Declares `name` as `inner` called as a function of its own, with its own stack; for a family `<A>` where there is one.
macro_rules! apart {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$family:ident> = $inner:ident($($arg:ident: $type:ty),*) -> $ok:ty) => {
        $(#[$meta])*
        #[inline(always)]
        $vis fn $name<$family: crate::family::Family>($($arg: $type),*) -> Result<$ok, DropReason> {
            #[inline(never)]
            fn apart<$family: crate::family::Family>($($arg: $type),*) -> crate::outcome::Outcome<$ok> {
                crate::outcome::Outcome::of($inner::<$family>($($arg),*))
            }
            apart::<$family>($($arg),*).result()
        }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident = $inner:ident($($arg:ident: $type:ty),*) -> $ok:ty) => {
        $(#[$meta])*
        #[inline(always)]
        $vis fn $name($($arg: $type),*) -> Result<$ok, DropReason> {
            #[inline(never)]
            fn apart($($arg: $type),*) -> crate::outcome::Outcome<$ok> {
                crate::outcome::Outcome::of($inner($($arg),*))
            }
            apart($($arg),*).result()
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_folded_comes_back() {
        for reason in DropReason::ALL {
            assert_eq!(Outcome::<Counted>::of(Err(reason)).result(), Err(reason));
        }
        for action in Counted::ALL {
            assert_eq!(Outcome::of(Ok(action)).result(), Ok(action));
        }
    }
}
