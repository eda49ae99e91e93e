//! Arrays in `.npz` files, and as bytes.
//!
//! Input: files as NumPy writes them. Output: [`Tensor`]s that fit a workload's parameters, and files that NumPy
//! reads. Nothing is converted: an array of another dtype or shape is an error that says both.

use moat_optimizer::program::expr::{Param, Signature};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::tensor::{Data, Tensor};
use npyz::npz::{NpzArchive, NpzWriter};
use npyz::{AutoSerialize, NpyFile, Order, TypeChar, WriterBuilder};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// What can be wrong with a file of arrays.
#[derive(Debug, thiserror::Error)]
pub enum NpzError {
    /// The file.
    #[error("cannot {action} {}: {reason}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// A parameter without an array.
    #[error("{}: no array `{name}` (it has {})", path.display(), list(found))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The parameter.
        name: String,
        /// What there is.
        found: Vec<String>,
    },
    /// An array that does not fit.
    #[error(
        "{}: array `{name}` is {found_dtype}{found_shape:?}, expected {expected_dtype}{expected_shape:?}",
        path.display()
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The parameter.
        name: String,
        /// The array's dtype.
        found_dtype: String,
        /// The array's shape.
        found_shape: Vec<u64>,
        /// The parameter's dtype.
        expected_dtype: DType,
        /// The parameter's shape.
        expected_shape: Vec<usize>,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Reads one array for each parameter: by name, or where no name matches and the numbers agree (`np.savez(f, a, b)`),
/// by position. A parameter with a default needs none.
///
/// # Errors
/// If the file cannot be read, or an array is missing or does not fit. The first such array is reported.
pub fn read(path: &Path, params: &[Param], signature: &Signature) -> Result<Vec<Tensor>, NpzError> {
    let fail = |reason| NpzError::File { action: "read", path: path.to_owned(), reason };
    let mut archive = NpzArchive::open(path).map_err(fail)?;
    let mut names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    names.sort();
    let positional = params.iter().all(|param| !names.contains(&param.name))
        && names.len() == params.len()
        && (0..names.len()).all(|at| names.contains(&format!("arr_{at}")));
    let read = params.iter().enumerate().map(|(at, param)| {
        let name = if positional { format!("arr_{at}") } else { param.name.clone() };
        let Some(array) = archive.by_name(&name).map_err(fail)? else {
            if let Some(&default) = signature.defaults.get(&at) {
                return Ok(Tensor::from_fn(param.dtype, &[], |_| default));
            }
            return Err(NpzError::Missing { path: path.to_owned(), name, found: names.clone() });
        };
        let found_dtype = array.dtype().descr();
        let found_shape = array.shape().to_vec();
        let shape_fits = found_shape.len() == param.shape.len()
            && found_shape.iter().zip(&param.shape).all(|(&found, &wanted)| found == wanted as u64);
        let matching = if shape_fits { read_array(array, param).map_err(fail)? } else { None };
        matching.ok_or_else(|| NpzError::Mismatch {
            path: path.to_owned(),
            name: param.name.clone(),
            found_dtype,
            found_shape,
            expected_dtype: param.dtype,
            expected_shape: param.shape.clone(),
        })
    });
    read.collect()
}

/// The array in row-major order, or `None` if it has another dtype.
fn read_array<R: Read>(array: NpyFile<R>, param: &Param) -> io::Result<Option<Tensor>> {
    let kind = match array.dtype() {
        npyz::DType::Plain(plain) => (plain.type_char(), plain.size_field()),
        npyz::DType::Array(..) | npyz::DType::Record(_) => return Ok(None),
    };
    let wanted = match param.dtype {
        DType::Bool => (TypeChar::Bool, 1),
        DType::U8 => (TypeChar::Uint, 1),
        DType::I8 => (TypeChar::Int, 1),
        DType::I16 => (TypeChar::Int, 2),
        DType::I32 => (TypeChar::Int, 4),
        DType::I64 => (TypeChar::Int, 8),
        DType::F32 => (TypeChar::Float, 4),
        DType::F64 => (TypeChar::Float, 8),
        // NumPy has no bfloat16, and this crate no binary16.
        DType::F16 | DType::BF16 => return Ok(None),
    };
    if kind != wanted {
        return Ok(None);
    }
    let column_major = array.order() == Order::Fortran;
    let shape = &param.shape;
    let data = match param.dtype {
        DType::Bool => {
            let values = rows(array.into_vec::<bool>()?, column_major, shape);
            Data::Bool(values.into_iter().map(u8::from).collect())
        }
        DType::U8 => Data::U8(rows(array.into_vec()?, column_major, shape)),
        DType::I8 => Data::I8(rows(array.into_vec()?, column_major, shape)),
        DType::I16 => Data::I16(rows(array.into_vec()?, column_major, shape)),
        DType::I32 => Data::I32(rows(array.into_vec()?, column_major, shape)),
        DType::I64 => Data::I64(rows(array.into_vec()?, column_major, shape)),
        DType::F32 => Data::F32(rows(array.into_vec()?, column_major, shape)),
        DType::F64 => Data::F64(rows(array.into_vec()?, column_major, shape)),
        DType::F16 | DType::BF16 => return Ok(None),
    };
    Ok(Tensor::new(shape, data))
}

/// `values` in row-major order.
fn rows<T: Copy>(values: Vec<T>, column_major: bool, shape: &[usize]) -> Vec<T> {
    if !column_major || shape.len() < 2 {
        return values;
    }
    let mut ordered = Vec::with_capacity(values.len());
    let mut index = vec![0; shape.len()];
    for _ in 0..values.len() {
        // Column-major offset of the row-major successor.
        let at = index.iter().zip(shape).rev().fold(0, |offset, (i, extent)| offset * extent + i);
        ordered.push(values[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    ordered
}

/// Writes named arrays as NumPy's `savez` does.
///
/// # Errors
/// If the file cannot be written, or an array's dtype has no place in such a file.
pub fn write(path: &Path, arrays: &[(String, Tensor)]) -> Result<(), NpzError> {
    let fail = |reason| NpzError::File { action: "write", path: path.to_owned(), reason };
    let place = Place::new(path).map_err(fail)?;
    let mut writer = NpzWriter::new(io::BufWriter::new(place.file().map_err(fail)?));
    for (name, tensor) in arrays {
        match &tensor.data {
            Data::Bool(values) => {
                let values: Vec<bool> = values.iter().map(|&value| value != 0).collect();
                write_array(&mut writer, name, &tensor.shape, &values)
            }
            Data::I8(values) => write_array(&mut writer, name, &tensor.shape, values),
            Data::U8(values) => write_array(&mut writer, name, &tensor.shape, values),
            Data::I16(values) => write_array(&mut writer, name, &tensor.shape, values),
            Data::I32(values) => write_array(&mut writer, name, &tensor.shape, values),
            Data::I64(values) => write_array(&mut writer, name, &tensor.shape, values),
            Data::F32(values) => write_array(&mut writer, name, &tensor.shape, values),
            Data::F64(values) => write_array(&mut writer, name, &tensor.shape, values),
            Data::F16(_) | Data::BF16(_) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, format!("{} in an .npz file", tensor.dtype)))
            }
        }
        .map_err(fail)?;
    }
    let mut file = writer.zip_writer().finish().map_err(|error| fail(error.into()))?;
    file.flush().and_then(|()| file.get_ref().sync_data()).map_err(fail)?;
    place.keep(path).map_err(fail)
}

/// Whether [`write()`] could write there now. What is at the place stays as it is.
///
/// # Errors
/// If it could not.
pub fn probe(path: &Path) -> Result<(), NpzError> {
    let fail = |reason| NpzError::File { action: "write", path: path.to_owned(), reason };
    Place::new(path).map(|_| ()).map_err(fail)
}

/// Where an archive is written: beside its place, and moved there when it is whole; devices and the like have no beside.
enum Place {
    Beside(tempfile::NamedTempFile),
    There(File),
}

impl Place {
    fn new(path: &Path) -> io::Result<Place> {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if path.exists() && !path.is_file() {
            return Ok(Place::There(File::options().write(true).open(path)?));
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".moat").suffix(".npz");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        Ok(Place::Beside(builder.tempfile_in(directory)?))
    }

    fn file(&self) -> io::Result<File> {
        match self {
            Place::Beside(file) => file.as_file().try_clone(),
            Place::There(file) => file.try_clone(),
        }
    }

    fn keep(self, path: &Path) -> io::Result<()> {
        match self {
            Place::Beside(file) => file.persist(path).map(|_| ()).map_err(|error| error.error),
            Place::There(_) => Ok(()),
        }
    }
}

fn write_array<T: AutoSerialize + Copy, W: Write + Seek>(
    writer: &mut NpzWriter<W>,
    name: &str,
    shape: &[usize],
    values: &[T],
) -> io::Result<()> {
    let shape: Vec<u64> = shape.iter().map(|&extent| extent as u64).collect();
    let mut array = writer.array(name, Default::default())?.default_dtype().shape(&shape).begin_nd()?;
    array.extend(values.iter().copied())?;
    array.finish()
}

/// The array of `shape` with these little-endian elements; `None` if their number does not fit it.
pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<Tensor> {
    fn each<const N: usize, T>(bytes: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| element(*chunk)).collect()
    }
    let data = match dtype {
        DType::Bool => Data::Bool(bytes.to_vec()),
        DType::I8 => Data::I8(each(bytes, i8::from_le_bytes)),
        DType::U8 => Data::U8(bytes.to_vec()),
        DType::I16 => Data::I16(each(bytes, i16::from_le_bytes)),
        DType::I32 => Data::I32(each(bytes, i32::from_le_bytes)),
        DType::I64 => Data::I64(each(bytes, i64::from_le_bytes)),
        DType::F16 => Data::F16(each(bytes, u16::from_le_bytes)),
        DType::BF16 => Data::BF16(each(bytes, u16::from_le_bytes)),
        DType::F32 => Data::F32(each(bytes, f32::from_le_bytes)),
        DType::F64 => Data::F64(each(bytes, f64::from_le_bytes)),
    };
    Tensor::new(shape, data)
}

#[cfg(test)]
mod tests {
    use super::{from_bytes, read, rows, write};
    use moat_optimizer::program::expr::{InputHint, Param, Signature};
    use moat_optimizer::value::dtype::{DType, Literal};
    use moat_optimizer::value::tensor::Tensor;

    fn param(name: &str, dtype: DType, shape: &[usize]) -> Param {
        Param { name: name.to_owned(), dtype, shape: shape.to_vec(), hint: InputHint::Any }
    }

    #[test]
    fn arrays_survive_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.npz");
        let arrays: Vec<(String, Tensor)> = DType::SUPPORTED
            .into_iter()
            .map(|dtype| {
                let tensor = Tensor::from_fn(dtype, &[2, 3], |at| Literal::Int(i64::from(at % 2 == 0)));
                (dtype.name().to_owned(), tensor)
            })
            .chain([("scalar".to_owned(), Tensor::from_fn(DType::F32, &[], |_| Literal::float(0.5)))])
            .collect();
        write(&path, &arrays).unwrap();
        let params: Vec<Param> = arrays.iter().map(|(name, tensor)| param(name, tensor.dtype, &tensor.shape)).collect();
        let back = read(&path, &params, &Signature::default()).unwrap();
        assert!(back.iter().eq(arrays.iter().map(|(_, tensor)| tensor)));
        let missing = read(&path, &[param("x", DType::F32, &[])], &Signature::default()).unwrap_err().to_string();
        assert!(missing.contains("no array `x` (it has bool, f32,"), "{missing}");
        let other = read(&path, &[param("f32", DType::F64, &[2, 3])], &Signature::default()).unwrap_err().to_string();
        assert!(other.contains("array `f32` is '<f4'[2, 3], expected f64[2, 3]"), "{other}");
        for (_, tensor) in &arrays {
            assert_eq!(from_bytes(tensor.dtype, &tensor.shape, &tensor.to_bytes()).as_ref(), Some(tensor));
        }
    }

    #[test]
    fn columns_become_rows() {
        assert_eq!(rows(vec![0, 3, 1, 4, 2, 5], true, &[2, 3]), [0, 1, 2, 3, 4, 5]);
    }
}
