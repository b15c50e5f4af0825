//! Pure: generated messages and the conversions between them and the model.
